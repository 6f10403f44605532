"""The change feed, rulesets, and the topology as of one revision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from control_plane.topology.values.cell import Cell
from control_plane.topology.values.hold import Hold


@dataclass(frozen=True, slots=True)
class Ruleset:
    """One version of a named ruleset. At most one version of all rulesets is active."""

    name: str
    version: int
    document: str
    active: bool
    revision: int
    created_at: datetime
    author: str


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the change feed. The entries of one transaction share their revision."""

    revision: int
    kind: str
    action: str
    key: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    actor: str
    at: datetime

    def as_dict(self) -> dict[str, Any]:
        """Return the entry in plain JSON types."""
        return {one.name: getattr(self, one.name) for one in fields(self)} | {
            "at": self.at.isoformat()
        }


@dataclass(frozen=True, slots=True)
class TopologySnapshot:
    """Everything that edges are configured from, as of one revision."""

    revision: int
    edge_revision: int
    """The revision of the last change to a cell or to the active ruleset."""
    answers_revision: int
    """The revision of the last of these changes that can change which cell a request gets.

    New endpoints or labels can't. Answers that caches hold from before this revision are void.
    """
    cells: tuple[Cell, ...]
    ruleset: Ruleset | None
    """The active version, if there is one."""
    epochs: Mapping[int, int] = field(default_factory=dict)
    """By shard of the claims' keyspace, the revision of the last change of an owner."""
    holds: tuple[Hold, ...] = ()
    """What moves say of requests for the claims that they hold."""
    edge_secret: str = field(default="", repr=False)
    """What edges show the classifier; never logged."""
    owners_key: str = field(default="", repr=False)
    """The key of the owners' fingerprints, as 32 hexadecimal digits; never logged."""


@dataclass(frozen=True, slots=True)
class Written[T]:
    """The result of a write; of a dry run, what it would be."""

    value: T
    revision: int
    """The revision of the write; of a dry run, or if nothing was to be changed, the current one."""
    changes: tuple[Change, ...]
