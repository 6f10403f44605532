"""``cellway export``: a directory that diff finds nothing to change in."""

from __future__ import annotations

import json
from pathlib import Path

from control_plane.cli.client import Exit
from tests.cli.cellway_command import Cellway


def test_an_export_is_what_diff_calls_the_same(cellway: Cellway, tmp_path: Path) -> None:
    files = tmp_path / "files"
    done = cellway("export", str(files), "-o", "json")
    counts = json.loads(done.stdout)
    assert (counts["cells"], counts["rulesets"], counts["directory"]) == (2, 0, str(files))
    assert sorted(one.name for one in (files / "cells").iterdir()) == ["cell-1.yaml", "cell-2.yaml"]
    assert cellway("diff", "-f", str(files)).returncode == 0


def test_files_are_overwritten_only_when_told(cellway: Cellway, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    refused = cellway("export", str(tmp_path))
    assert (refused.returncode, "--force overwrites" in refused.stderr) == (Exit.CONFLICT, True)
    assert cellway("export", str(tmp_path / "mine"), "--force").returncode == Exit.CONFLICT
    assert cellway("export", str(tmp_path), "--force").returncode == 0
    assert (tmp_path / "mine").read_text() == "mine"
