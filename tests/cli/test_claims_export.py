"""``cellway claims export``: every claim in order, and on from where a file ends."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from control_plane.cli.claims_export import cursor_after
from control_plane.cli.client import Exit, Failure
from control_plane.topology import Topology
from control_plane.topology.values.claim import ClaimSpec
from tests.cli.cellway_command import Cellway

EXPORT = ("claims", "export")


def test_what_was_cut_off_is_exported_on(
    cellway: Cellway, topology: Topology, tmp_path: Path
) -> None:
    specs = [ClaimSpec("route", f"r{n:03}", "cell-1") for n in range(40)]
    topology.claims.claim(specs, actor="test")
    out = tmp_path / "out.ndjson"
    done = cellway(*EXPORT, str(out))
    assert (done.returncode, "exported 40 claims" in done.stderr) == (0, True)
    exported = out.read_text()
    values = [json.loads(one)["value"] for one in exported.splitlines()]
    assert values == [spec.value for spec in specs]
    again = cellway(*EXPORT, str(out))
    assert (again.returncode, "--resume goes on" in again.stderr) == (Exit.CONFLICT, True)
    out.write_text(exported[: len(exported) // 2])
    assert cellway(*EXPORT, str(out), "--resume").returncode == 0
    assert out.read_text() == exported
    assert cellway(*EXPORT).stdout == exported
    assert cellway(*EXPORT, "--resume").returncode == Exit.USAGE


def test_a_cursor_is_the_key_of_the_last_whole_line(tmp_path: Path) -> None:
    file = tmp_path / "out"
    assert cursor_after(file) is None
    file.write_text('{"buck')
    assert (cursor_after(file), file.read_text()) == (None, "")
    lines = '{"bucket": "route", "value": "a"}\n{"bucket": "email", "value": "ü"}\n'
    file.write_text(f'{lines}{{"bucket": "rou')
    cursor = cursor_after(file)
    assert cursor is not None
    assert json.loads(base64.urlsafe_b64decode(cursor + "==")) == ["email", "ü"]
    assert file.read_text() == lines


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "out"
    file.write_text("a,b,c\n")
    with pytest.raises(Failure, match="ends with a line that is no claim") as raised:
        cursor_after(file)
    assert raised.value.status is Exit.USAGE
