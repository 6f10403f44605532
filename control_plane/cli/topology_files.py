"""Cells and rulesets as files, for ``cellway apply``, ``diff`` and ``export``.

A directory has ``cells/NAME.yaml``, ``rulesets/NAME.json`` and ``topology.yaml``, which says which
ruleset routes: ``active: NAME``. A single file has all three: ``cells`` (a list), ``rulesets`` (by
name) and ``active``. In memory both are one document, as ``PUT /v1/topology`` takes it::

    {"cells": [{"name": "c1", "address": "c1.example", "endpoints": ["10.0.0.1:443"]}],
     "rulesets": {"gitlab": {"rules": []}},
     "active": "gitlab"}
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from control_plane.cli.client import Exit, Failure
from control_plane.cli.output import as_yaml

MAX_FILE_BYTES = 2 << 20
_FIELDS = frozenset({"cells", "rulesets", "active"})
_ENDINGS = frozenset({".yaml", ".yml", ".json"})


def read(path: Path) -> dict[str, Any]:
    """Return the document that a directory or a file holds.

    Raises:
        Failure: a file is wrong; the message names it.
    """
    if path.is_file():
        return _with_fields(path, _FIELDS)
    document = {
        "cells": [_cell(one) for one in _files(path / "cells")],
        "rulesets": {one.stem: load(one) for one in _files(path / "rulesets")},
    }
    whole = path / "topology.yaml"
    if whole.exists():
        document |= _with_fields(whole, frozenset({"active"}))
    if not any(document.values()):
        raise Failure(f"{path} has neither cells/ nor rulesets/ nor topology.yaml", Exit.USAGE)
    return document


def load(path: Path) -> Any:
    """Return what a YAML or JSON file says.

    Raises:
        Failure: it is too large, or neither YAML nor JSON.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        raise Failure(f"{path} is larger than {MAX_FILE_BYTES} bytes", Exit.USAGE)
    try:
        text = path.read_text("utf-8")
        document = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        # YAML has NaN and infinity, and Python reads them in JSON; the API takes neither.
        json.dumps(document, allow_nan=False, default=str)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise Failure(f"{path} can't be read: {error}", Exit.USAGE) from error
    return document


def _files(directory: Path) -> Iterator[Path]:
    if directory.is_dir():
        yield from sorted(one for one in directory.iterdir() if one.suffix in _ENDINGS)


def _with_fields(path: Path, fields: frozenset[str]) -> dict[str, Any]:
    document = load(path)
    if not isinstance(document, dict):
        raise Failure(f"{path} holds no mapping, such as {min(fields)}: …", Exit.USAGE)
    if not document.keys() <= fields:
        raise Failure(f"{path} has other fields than {', '.join(sorted(fields))}", Exit.USAGE)
    return document


def _cell(path: Path) -> dict[str, Any]:
    """Return the cell of a file, which is named for it."""
    cell = load(path)
    if not isinstance(cell, dict) or cell.get("name", path.stem) != path.stem:
        raise Failure(f"{path} has no cell named {path.stem}", Exit.USAGE)
    return {"name": path.stem, **cell}


def write(directory: Path, document: dict[str, Any]) -> None:
    """Write a document as the files of a directory, which is created if it isn't there."""
    for name in ("cells", "rulesets"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    for cell in document["cells"]:
        _write_yaml(directory / "cells" / f"{cell['name']}.yaml", cell)
    for name, ruleset in document["rulesets"].items():
        text = json.dumps(ruleset, indent=2, ensure_ascii=False) + "\n"
        (directory / "rulesets" / f"{name}.json").write_text(text, "utf-8")
    active = {"active": document["active"]} if document["active"] else {}
    _write_yaml(directory / "topology.yaml", active)


def _write_yaml(path: Path, data: Any) -> None:
    path.write_text(as_yaml(data), "utf-8")
