"""Changes of the feed, rulesets, and the topology as of one revision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from control_plane.topology.values.cell import Cell


@dataclass(frozen=True, slots=True)
class Ruleset:
    """One version of a named ruleset; at most one version of all is active."""

    name: str
    version: int
    document: str
    active: bool
    revision: int
    created_at: datetime
    author: str


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the change feed; several may share a revision (one transaction)."""

    revision: int
    kind: str
    action: str
    key: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    actor: str
    at: datetime

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "revision": self.revision,
            "kind": self.kind,
            "action": self.action,
            "key": self.key,
            "before": self.before,
            "after": self.after,
            "actor": self.actor,
            "at": self.at.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class TopologySnapshot:
    """One consistent read. ``edge_revision``: the last change to a cell or the active ruleset.

    ``answers_revision``: the last of them that can change which cell a request gets: not new
    endpoints, nor labels. What caches keep from before it is void. ``epochs``: by shard of the
    claims' keyspace, the revision of the last change of an owner.
    """

    revision: int
    edge_revision: int
    answers_revision: int
    cells: tuple[Cell, ...]
    ruleset: Ruleset | None
    epochs: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Written[T]:
    """What a write gave: with a dry run, what it would give, at the current revision."""

    value: T
    revision: int
    changes: tuple[Change, ...]
