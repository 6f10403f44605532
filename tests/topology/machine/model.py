"""What should be stored, as plain dicts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from control_plane.topology.values.cell import CellSpec

Key = tuple[str, str]
"""Bucket and value."""
CELLS = ["a", "b", "c"]
SPELLINGS: dict[Key, list[str]] = {
    ("route", "foo"): ["foo", "FOO", "/Foo/"],
    ("route", "strasse"): ["straße", "STRASSE", "Strasse"],
    ("username", "foo"): ["foo", " Foo "],
    ("username", "é"): ["é", "e\u0301", "É"],
    ("email", "a@xn--bcher-kva.example"): ["A@Bücher.example", "a@xn--bcher-kva.EXAMPLE."],
    ("project_id", "42"): ["42", "042", " 42"],
    ("ssh_key", "Ab"): ["Ab"],
    ("ssh_key", "AB"): ["AB"],
    ("other", "X y"): ["X y", " X y "],
}
"""Spellings of each key, written down instead of computed."""
BAD_VALUES = [("route", "/"), ("project_id", "-1"), ("email", "a"), ("Route", "x"), ("other", "\0")]


@dataclass
class Model:
    """What should be stored."""

    cells: dict[str, dict[str, Any]] = field(default_factory=dict)
    claims: dict[Key, str] = field(default_factory=dict)
    rulesets: dict[str, list[str]] = field(default_factory=dict)
    active: tuple[str, int] | None = None
    used_ids: set[int] = field(default_factory=set)
    """The ids that some cell has or had."""

    def accepts_new(self, name: str) -> bool:
        """Tell whether a cell takes new tenants."""
        cell = self.cells[name]
        return bool(cell["healthy"] and takes_new(cell) and cell["weight"] > 0)

    def clash(self, cell: dict[str, Any]) -> bool:
        """Tell whether another cell has what only one may have."""
        for other in self.cells.values():
            if other["name"] == cell["name"]:
                continue
            for key in ("id", "address", "session_prefix"):
                if cell[key] is not None and cell[key] == other[key]:
                    return True
            for mine in cell["sequence_ranges"]:
                for theirs in other["sequence_ranges"]:
                    if mine["minval"] <= theirs["maxval"] and theirs["minval"] <= mine["maxval"]:
                        return True
        return False


def takes_new(cell: dict[str, Any]) -> bool:
    """Tell whether a cell's state lets others claim for it."""
    return cell["state"] in {"canary", "active"}


def written_part(spec: CellSpec) -> dict[str, Any]:
    """Return what a spec says of a cell, as the API and the feed show it."""
    return {
        "name": spec.name,
        "address": spec.address.lower(),
        "endpoints": [str(endpoint) for endpoint in spec.endpoints],
        "tls": None,
        "health_check_path": None,
        "session_prefix": spec.session_prefix,
        "sequence_ranges": [
            {"minval": span.minval, "maxval": span.maxval} for span in spec.sequence_ranges
        ],
        "labels": {},
        "state": str(spec.state),
        "weight": spec.weight,
    }
