"""Cells and rulesets as files: a directory and a single file say the same, and wrong ones are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from control_plane.cli import topology_files
from control_plane.cli.client import Exit, Failure

DOCUMENT: dict[str, Any] = {
    "cells": [
        {"name": "c1", "address": "c1.example", "endpoints": ["10.0.0.1:443"]},
        {"name": "c2", "address": "ünïcode.example", "endpoints": ["10.0.0.2:443"]},
    ],
    "rulesets": {"r": {"name": "r", "rules": []}},
    "active": "r",
}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    topology_files.write(tmp_path / "new" / "files", DOCUMENT)
    assert topology_files.read(tmp_path / "new" / "files") == DOCUMENT
    topology_files.write(tmp_path / "idle", DOCUMENT | {"active": None})
    assert "active" not in topology_files.read(tmp_path / "idle")


@pytest.mark.parametrize("name", ["all.yaml", "all.json"])
def test_one_file_holds_all(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text(json.dumps(DOCUMENT))
    assert topology_files.read(file) == DOCUMENT


def test_a_cell_is_named_for_its_file(tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "c9.yml").write_text("weight: 7")
    (tmp_path / "cells" / "notes.txt").write_text("not a cell")
    assert topology_files.read(tmp_path)["cells"] == [{"name": "c9", "weight": 7}]


@pytest.mark.parametrize(
    ("path", "text", "says"),
    [
        ("cells/c1.yaml", "name: c2", "cells/c1.yaml has no cell named c1"),
        ("cells/c1.yaml", "[]", "cells/c1.yaml has no cell named c1"),
        ("cells/c1.yaml", "a: [", "cells/c1.yaml can't be read"),
        ("rulesets/r.json", "{", "rulesets/r.json can't be read"),
        ("rulesets/r.json", " " * (3 << 20), "is larger than 2097152 bytes"),
        ("topology.yaml", "activ: r", "topology.yaml has other fields than active"),
        ("topology.yaml", "", "topology.yaml holds no mapping, such as active: …"),
        ("topology.json", "{}", "has neither cells/ nor rulesets/ nor topology.yaml"),
    ],
)
def test_a_file_that_is_wrong_is_named(tmp_path: Path, path: str, text: str, says: str) -> None:
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text(text)
    with pytest.raises(Failure) as raised:
        topology_files.read(tmp_path)
    assert says in str(raised.value)
    assert raised.value.status is Exit.USAGE


def test_a_single_file_has_no_other_fields(tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(yaml.safe_dump({"cell": []}))
    with pytest.raises(Failure, match="has other fields than active, cells, rulesets"):
        topology_files.read(file)
