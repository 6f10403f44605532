"""A reader that knows the topology from a snapshot and the change feed alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from control_plane.topology import Topology


@dataclass
class Follower:
    """What the reader knows; `at` is the revision up to which it has read."""

    at: int = 0
    cells: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, str] = field(default_factory=dict)
    rulesets: set[str] = field(default_factory=set)
    active: str | None = None

    def snapshot(self, topology: Topology) -> None:
        """Forget everything, and read all there is."""
        self.at = topology.revision()
        self.cells = {cell.name: cell.as_dict() for cell in topology.cells.all()}
        self.claims = {
            f"{one.bucket}:{one.value}": one.cell for one in topology.claims.page(limit=1000)
        }
        self.rulesets = {f"{one.name}@{one.version}" for one in topology.rulesets.versions()}
        active = topology.rulesets.active()
        self.active = f"{active.name}@{active.version}" if active else None

    def follow(self, topology: Topology, limit: int) -> None:
        """Read the feed to its end, a page at a time."""
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
