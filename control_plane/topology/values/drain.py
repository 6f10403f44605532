"""Drains: a cell's share of the free traffic goes down in steps, and returns by itself.

For example, a drain of a step of 10 to a target of 0 leaves the cell 90, 80, … 0 percent of its
usual share, then holds it at 0, and at its expiry gives it back all of it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from control_plane.names import MAX_REASON_CHARS
from control_plane.topology.values.cell import FULL_SHARE
from control_plane.topology.values.errors import Invalid, Problem

MAX_DRAIN_S = 72 * 3600
"""How long a drain may last; start another one if that is not enough."""


class DrainState(enum.StrEnum):
    """``holding``: the target is reached. The last three are ends: the cell has its share back."""

    RUNNING = "running"
    PAUSED = "paused"
    HOLDING = "holding"
    RETURNED = "returned"
    ABORTED = "aborted"
    ENDED = "ended"
    """Its cell was deleted."""


@dataclass(frozen=True, slots=True)
class DrainSpec:
    """What an operator asks for; shares are percent of the cell's usual share."""

    cell: str
    target: int
    step: int
    interval_s: int
    reason: str
    expires_in_s: int

    def shares(self) -> tuple[int, ...]:
        """Return the share after each step."""
        return tuple(
            max(FULL_SHARE - self.step * number, self.target)
            for number in range(1, self._steps() + 1)
        )

    def _steps(self) -> int:
        return -((self.target - FULL_SHARE) // self.step)

    def check(self) -> None:
        """Raise `Invalid` with every problem of this spec."""
        if problems := tuple(self._problems()):
            raise Invalid(*problems)
        lasts_s = (self._steps() - 1) * self.interval_s
        if lasts_s >= self.expires_in_s:
            message = f"{self._steps()} steps take {lasts_s} s, and it expires before"
            hint = "give a later expiry, a larger step or a shorter interval"
            raise Invalid(Problem("expires_in_s", message, hint))

    def _problems(self) -> Iterator[Problem]:
        numbers = (
            ("target_share", self.target, 0, FULL_SHARE - 1),
            ("step", self.step, 1, FULL_SHARE),
            ("interval_s", self.interval_s, 1, MAX_DRAIN_S),
            ("expires_in_s", self.expires_in_s, 1, MAX_DRAIN_S),
        )
        for field, value, low, high in numbers:
            if not low <= value <= high:
                yield Problem(field, f"{value} is out of range", f"{low} to {high}")
        if not 1 <= len(self.reason.strip()) <= MAX_REASON_CHARS:
            hint = f"say why, in 1 to {MAX_REASON_CHARS} characters: it stays in the audit"
            yield Problem("reason", "is missing or too long", hint)


@dataclass(frozen=True, slots=True)
class Drain:
    """A drain as it is stored; times are by the database's clock."""

    id: str
    cell_id: int
    cell: str
    state: DrainState
    share: int
    """What the cell has of its usual share now, in percent; after the end, what it had last."""
    target: int
    step: int
    interval_s: int
    reason: str
    actor: str
    detail: str
    """Why it was paused or has ended, if that was not an operator's wish."""
    started_at: datetime
    expires_at: datetime
    next_at: datetime
    ended_at: datetime | None
    version: int
    """The revision of its last change, which is its ETag."""

    @property
    def active(self) -> bool:
        """Whether it still has a hand on the cell's share."""
        return self.ended_at is None

    def as_dict(self) -> dict[str, Any]:
        """Return it in plain JSON types."""
        stepping = self.state is DrainState.RUNNING
        return {
            "id": self.id,
            "cell": self.cell,
            "state": str(self.state),
            "share": self.share,
            "target_share": self.target,
            "step": self.step,
            "interval_s": self.interval_s,
            "reason": self.reason,
            "actor": self.actor,
            "detail": self.detail,
            "started_at": self.started_at.isoformat(),
            "expires_at": self.expires_at.isoformat(),
            "next_step_at": self.next_at.isoformat() if stepping else None,
            "ended_at": None if self.ended_at is None else self.ended_at.isoformat(),
            "version": self.version,
        }
