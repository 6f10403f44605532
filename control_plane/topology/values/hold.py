"""Holds: what a move says of requests for its claims, while it rehearses or freezes them.

A look-up answers with the id of the cell that owns a claim. If a move holds the claim, the answer
depends on the request, so the look-up answers with minus the move's number instead, and the
evaluator asks the move's hold. For example, move 7 takes ``route:acme`` from cell 1 to cell 2::

    not held             owner 1     every request goes to cell 1
    rehearsed by 7       owner -7    test users go to cell 2, all others to cell 1
    frozen by 7          owner -7    writes are refused with 503, reads go to cell 1
    switched             owner 2     every request goes to cell 2

Cell ids are positive, so an owner below 0 is a hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Selector:
    """Requests: those that all given parts fit. An empty one fits every request."""

    methods: tuple[str, ...] = ()
    """One of these methods; empty for any."""
    path: str | None = None
    """A regex (RE2) that occurs in the path."""
    rule: str | None = None
    """The id of the rule that found the claim."""

    def as_dict(self) -> dict[str, Any]:
        """Return it in plain JSON types."""
        return {"methods": list(self.methods), "path": self.path, "rule": self.rule}

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Selector:
        """Return what `as_dict` has made."""
        return cls(tuple(stored["methods"]), stored["path"], stored["rule"])


@dataclass(frozen=True, slots=True)
class Freeze:
    """What a frozen claim refuses: requests that one of ``refuse`` fits and none of ``allow``."""

    refuse: tuple[Selector, ...] | None = None
    """None: every request that is no GET, HEAD, OPTIONS or TRACE."""
    allow: tuple[Selector, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return it in plain JSON types."""
        refuse = None if self.refuse is None else [one.as_dict() for one in self.refuse]
        return {"refuse": refuse, "allow": [one.as_dict() for one in self.allow]}

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Freeze:
        """Return what `as_dict` has made."""
        refuse = stored["refuse"]
        return cls(
            None if refuse is None else tuple(map(Selector.of, refuse)),
            tuple(map(Selector.of, stored["allow"])),
        )


@dataclass(frozen=True, slots=True)
class PreviewUser:
    """Test users: requests with this value in a header, or in a cookie."""

    kind: str
    """``header`` or ``cookie``."""
    name: str
    value: str

    def as_dict(self) -> dict[str, Any]:
        """Return it in plain JSON types."""
        return {"kind": self.kind, "name": self.name, "value": self.value}

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> PreviewUser:
        """Return what `as_dict` has made."""
        return cls(stored["kind"], stored["name"], stored["value"])


@dataclass(frozen=True, slots=True)
class Hold:
    """What a move that has not switched says of requests for its claims."""

    number: int
    """The move's number; look-ups answer with minus this."""
    source_id: int
    target_id: int
    freeze: Freeze | None
    """None while the move only rehearses."""
    testers: tuple[PreviewUser, ...] = ()
    """Who is sent to the target already."""
