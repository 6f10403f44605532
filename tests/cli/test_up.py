"""``cellway up``: its options become settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.cli.local import system
from control_plane.settings import Settings
from tests.cli.cellway_command import Cellway


def test_its_options_become_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[Settings] = []
    monkeypatch.setattr(system, "up_here", started.append)
    cellway = Cellway("http://127.0.0.1:1", CELLWAY_DRAIN_S="3")
    options = ("--edge-port", "1", "--envoy-admin-port", "2", "--data-dir", str(tmp_path))
    assert cellway("up", *options).returncode == 0
    assert cellway("up", "--drain-s", "0.5").returncode == 0
    first, second = started
    assert (first.edge_port, first.envoy_admin_port, first.data_dir) == (1, 2, tmp_path)
    assert (first.drain_s, second.drain_s) == (3, 0.5)
