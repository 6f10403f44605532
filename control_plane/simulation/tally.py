"""Counts what becomes of requests: from which cell to which, by which rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from control_plane.routing.explain import outcome_document
from control_plane.routing.model import Decision, Outcome
from control_plane.simulation.logs.recorded import Recorded

MAX_GROUPS = 10_000
"""Groups that are told apart; what belongs to further ones is counted as a whole."""
MAX_SHOWN_CHARS = 200

_Key = tuple[Outcome, str | None, Outcome, str | None]


@dataclass(slots=True)
class Group:
    """Requests that go from the same place to the same place, by the same rules."""

    before: Decision
    after: Decision
    count: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def moves(self) -> bool:
        """Whether its requests would go elsewhere."""
        return self.before.outcome != self.after.outcome

    def as_dict(self) -> dict[str, Any]:
        """Return the group in plain JSON types."""
        return {
            "different": self.moves,
            "count": self.count,
            "from": {"rule": self.before.rule, **outcome_document(self.before.outcome)},
            "to": {"rule": self.after.rule, **outcome_document(self.after.outcome)},
            "examples": self.examples,
        }


class Tally:
    """The counts of one simulation."""

    def __init__(self, examples: int) -> None:
        """Count nothing yet; keep so many examples of each group, and of unreadable lines."""
        self._examples = examples
        self._groups: dict[_Key, Group] = {}
        self._further: dict[bool, Group] = {}
        """By whether its requests would go elsewhere, what is not told apart."""
        self.unreadable = 0
        self._unreadable: list[dict[str, Any]] = []

    def group(self, line: int, recorded: Recorded, before: Decision, after: Decision) -> Group:
        """Return the group of a request, which becomes an example if there are few yet."""
        key = (before.outcome, before.rule, after.outcome, after.rule)
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= MAX_GROUPS:
                moves = before.outcome != after.outcome
                return self._further.setdefault(moves, Group(before, after))
            group = self._groups[key] = Group(before, after)
        if len(group.examples) < self._examples:
            group.examples.append(
                {
                    "line": line,
                    **recorded.as_dict(),
                    "from": {"key": before.key, "why": before.reason},
                    "to": {"key": after.key, "why": after.reason},
                }
            )
        return group

    def cannot_read(self, line: int, raw: bytes, why: str) -> None:
        """Count a line that tells of no request."""
        self.unreadable += 1
        if len(self._unreadable) < self._examples:
            text = raw[:MAX_SHOWN_CHARS].decode("utf-8", "replace").rstrip()
            self._unreadable.append({"line": line, "why": why[:MAX_SHOWN_CHARS], "text": text})

    @property
    def different(self) -> int:
        """How many requests would go elsewhere."""
        return sum(group.count for group in self._all() if group.moves)

    def _all(self) -> list[Group]:
        return [*self._groups.values(), *self._further.values()]

    def as_dict(self) -> dict[str, Any]:
        """Return all counts in plain JSON types: what differs first, the most frequent first."""
        groups = sorted(self._groups.values(), key=lambda one: (not one.moves, -one.count))
        by_other_rule = [
            one.count for one in groups if not one.moves and one.before.rule != one.after.rule
        ]
        return {
            "requests": sum(group.count for group in self._all()),
            "different": self.different,
            "by_other_rule": sum(by_other_rule),
            "unreadable": {"count": self.unreadable, "first": self._unreadable},
            "groups": [group.as_dict() for group in groups],
            "not_grouped": sum(group.count for group in self._further.values()),
        }
