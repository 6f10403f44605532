"""What a topology should hold, as plain dicts, and a reader that knows only the change feed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from control_plane.topology import Topology
from control_plane.topology.values import (
    CellSpec,
    TopologyError,
)

Key = tuple[str, str]
Error = type[TopologyError]
CELLS = ["a", "b", "c"]
# Spellings by what they stand for, written down instead of computed.
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
BAD_VALUES = [("route", "/"), ("project_id", "-1"), ("email", "a"), ("Route", "x"), ("other", "\0")]


@dataclass
class Model:
    """What should be stored."""

    cells: dict[str, dict[str, Any]] = field(default_factory=dict)
    claims: dict[Key, str] = field(default_factory=dict)
    rulesets: dict[str, list[str]] = field(default_factory=dict)
    active: tuple[str, int] | None = None
    given: set[int] = field(default_factory=set)
    """Ids that a cell has or had."""

    def accepts_new(self, name: str) -> bool:
        cell = self.cells[name]
        return bool(
            cell["healthy"] and cell["state"] in {"canary", "active"} and cell["weight"] > 0
        )

    def clash(self, cell: dict[str, Any]) -> bool:
        """Whether another cell has what only one may have."""
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


@dataclass
class Follower:
    """A reader that knows the topology from a snapshot and the feed alone."""

    at: int = 0
    cells: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, str] = field(default_factory=dict)
    rulesets: set[str] = field(default_factory=set)
    active: str | None = None

    def snapshot(self, topology: Topology) -> None:
        """Start afresh."""
        self.at = topology.revision()
        self.cells = {cell.name: cell.as_dict() for cell in topology.cells.all()}
        self.claims = {
            f"{one.bucket}:{one.value}": one.cell for one in topology.claims.page(limit=1000)
        }
        self.rulesets = {f"{one.name}@{one.version}" for one in topology.rulesets.versions()}
        active = topology.rulesets.active()
        self.active = f"{active.name}@{active.version}" if active else None

    def follow(self, topology: Topology, limit: int) -> None:
        """Take up everything there is, a page at a time."""
        while changes := topology.changes.since(self.at, limit=limit):
            for change in changes:
                assert change.revision in {self.at, self.at + 1}, "a gap, or out of order"
                self.at = change.revision
                table: dict[str, Any] = self.cells
                after: Any = change.after
                if change.kind == "claim":
                    table, after = self.claims, change.after["cell"] if change.after else None
                if change.kind == "ruleset":
                    if change.action == "activate":
                        self.active = change.key
                    else:
                        self.rulesets.add(change.key)
                elif after is None:
                    del table[change.key]
                else:
                    if change.action == "create":
                        assert change.key not in table, "created twice"
                    table[change.key] = after


def written_part(spec: CellSpec) -> dict[str, Any]:
    """What a spec says of a cell, as the API and the feed show it."""
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
