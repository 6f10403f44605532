"""The agent as the command runs it: what it can't use is one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.cli import envoy
from control_plane.cli.client import Failure
from control_plane.edge_agent.store import SnapshotStore


def test_a_second_agent_does_not_start(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path)
    with pytest.raises(Failure, match=f"another agent uses {tmp_path}"):
        envoy.agent(snapshot_dir=tmp_path, listen="127.0.0.1:0")
    store.close()


def test_a_directory_that_can_t_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(Failure) as raised:
        envoy.agent(snapshot_dir=tmp_path / "file" / "snapshots", listen="127.0.0.1:0")
    assert "\n" not in str(raised.value)
