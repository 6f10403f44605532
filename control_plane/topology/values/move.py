"""Moves of tenants as a state machine. Pure.

A move takes claims from one cell to another in steps that an operator, or a program that copies
the data, asks for one by one::

    planned -> preflight -> rehearsed -> frozen -> switched -> watching -> completed
                      \\---------------^
    rolled back: from each of them but completed

Each step is one transaction, which checks the state that is stored and stores the next one. So a
process that is killed leaves the move in one state or the next, never between two, and the state
says what comes next. A step that was done already is answered with the move as it is.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from control_plane.topology.values.errors import Refused
from control_plane.topology.values.hold import Freeze, Hold, PreviewUser

MAX_EVENTS = 200
"""Entries of a move's timeline."""
MAX_REPORTS = 100
"""Reports that a move keeps, the newest."""


class MoveState(enum.StrEnum):
    """The states of a move; ``watching`` is ``switched`` once the fleet is known to run it."""

    PLANNED = "planned"
    PREFLIGHT = "preflight"
    REHEARSED = "rehearsed"
    FROZEN = "frozen"
    SWITCHED = "switched"
    WATCHING = "watching"
    COMPLETED = "completed"
    ROLLED_BACK = "rolled-back"

    @property
    def ended(self) -> bool:
        """Whether no step leads on from here."""
        return self in {MoveState.COMPLETED, MoveState.ROLLED_BACK}

    @property
    def holds(self) -> bool:
        """Whether the move holds its claims, so that look-ups answer with its hold."""
        return self in {MoveState.REHEARSED, MoveState.FROZEN}

    @property
    def switched(self) -> bool:
        """Whether the target has the claims, and the way back is still open."""
        return self in {MoveState.SWITCHED, MoveState.WATCHING}


class MoveStep(enum.StrEnum):
    """What can be asked of a move."""

    PREFLIGHT = "preflight"
    REHEARSE = "rehearse"
    FREEZE = "freeze"
    SWITCH = "switch"
    COMPLETE = "complete"
    ROLLBACK = "rollback"


_S = MoveState
_FROM: Mapping[MoveStep, frozenset[MoveState]] = MappingProxyType(
    {
        MoveStep.PREFLIGHT: frozenset({_S.PLANNED, _S.PREFLIGHT}),
        MoveStep.REHEARSE: frozenset({_S.PREFLIGHT}),
        MoveStep.FREEZE: frozenset({_S.PREFLIGHT, _S.REHEARSED}),
        MoveStep.SWITCH: frozenset({_S.FROZEN}),
        MoveStep.COMPLETE: frozenset({_S.WATCHING}),
        MoveStep.ROLLBACK: frozenset(one for one in MoveState if not one.ended),
    }
)
_DONE: Mapping[MoveStep, frozenset[MoveState]] = MappingProxyType(
    {
        MoveStep.PREFLIGHT: frozenset(),
        MoveStep.REHEARSE: frozenset({_S.REHEARSED}),
        MoveStep.FREEZE: frozenset({_S.FROZEN}),
        MoveStep.SWITCH: frozenset({_S.SWITCHED, _S.WATCHING}),
        MoveStep.COMPLETE: frozenset({_S.COMPLETED}),
        MoveStep.ROLLBACK: frozenset({_S.ROLLED_BACK}),
    }
)
RESULT: Mapping[MoveStep, MoveState] = MappingProxyType(
    {
        MoveStep.PREFLIGHT: _S.PREFLIGHT,
        MoveStep.REHEARSE: _S.REHEARSED,
        MoveStep.FREEZE: _S.FROZEN,
        MoveStep.SWITCH: _S.SWITCHED,
        MoveStep.COMPLETE: _S.COMPLETED,
        MoveStep.ROLLBACK: _S.ROLLED_BACK,
    }
)
"""The state that a step leads to."""


@dataclass(frozen=True, slots=True)
class MovePlan:
    """What a move is to do, as it was planned."""

    source: str
    target: str
    reason: str
    selection: Mapping[str, Any]
    """``{"subject": {…}}``, ``{"claims": [[bucket, value], …]}``, or ``{"cell": n}`` for n claims
    of the source and what goes with them. Once a list or a batch is stored, ``{"listed": n}``."""
    freeze: Freeze = field(default_factory=Freeze)
    testers: tuple[PreviewUser, ...] = ()
    needs_verification: bool = True
    """Whether a mover has to say that the data is at the target before the switch."""
    verification_max_age: timedelta = timedelta(hours=1)
    one_way: bool = False
    """Whether the move may be made although nothing leads back, for example off a dead cell."""
    needs_drained: bool = False
    """Whether the source has to report twice that nothing is under way before the switch."""
    prepare_for: timedelta = timedelta(days=7)
    """How long the move may stay in a state before ``frozen``; then it is rolled back."""
    freeze_for: timedelta = timedelta(minutes=15)
    """How long the claims may stay frozen; then the move is rolled back."""

    def as_dict(self) -> dict[str, Any]:
        """Return it in plain JSON types."""
        return {
            "source": self.source,
            "target": self.target,
            "reason": self.reason,
            "selection": dict(self.selection),
            "freeze": self.freeze.as_dict(),
            "testers": [one.as_dict() for one in self.testers],
            "needs_verification": self.needs_verification,
            "verification_max_age_s": self.verification_max_age.total_seconds(),
            "one_way": self.one_way,
            "needs_drained": self.needs_drained,
            "prepare_for_s": self.prepare_for.total_seconds(),
            "freeze_for_s": self.freeze_for.total_seconds(),
        }

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> MovePlan:
        """Return what `as_dict` has made."""
        return cls(
            stored["source"],
            stored["target"],
            stored["reason"],
            stored["selection"],
            Freeze.of(stored["freeze"]),
            tuple(map(PreviewUser.of, stored["testers"])),
            stored["needs_verification"],
            timedelta(seconds=stored["verification_max_age_s"]),
            stored["one_way"],
            stored["needs_drained"],
            timedelta(seconds=stored["prepare_for_s"]),
            timedelta(seconds=stored["freeze_for_s"]),
        )


@dataclass(frozen=True, slots=True)
class Move:
    """A move as it is stored."""

    number: int
    state: MoveState
    version: int
    """The revision of its last change."""
    source_id: int
    target_id: int
    plan: MovePlan
    claims: int
    """How many claims it has, as of its last step."""
    created_at: datetime
    updated_at: datetime
    deadline_at: datetime | None
    """When the state times out: before the switch, the move is rolled back then."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What gates look at: times (ISO) and revisions by name, see `move_gates`."""
    events: tuple[Mapping[str, Any], ...] = ()
    """The timeline, the oldest entry first."""
    reports: tuple[Mapping[str, Any], ...] = ()
    """What cells and edges have reported, the oldest first."""

    def at(self, fact: str) -> datetime | None:
        """Return the time that a fact says, if it is known."""
        text = self.facts.get(fact)
        return None if text is None else datetime.fromisoformat(text)

    @property
    def hold(self) -> Hold:
        """What it says of requests for its claims while it holds them."""
        freeze = self.plan.freeze if self.state is MoveState.FROZEN else None
        return Hold(self.number, self.source_id, self.target_id, freeze, self.plan.testers)

    def summary(self) -> dict[str, Any]:
        """Return what the change feed tells of it, in plain JSON types."""
        plan = self.plan
        return {
            "state": str(self.state),
            "source": plan.source,
            "target": plan.target,
            "claims": self.claims,
            "reason": plan.reason,
        }

    def as_dict(self) -> dict[str, Any]:
        """Return it in plain JSON types, without its timeline."""
        return {
            "id": self.number,
            "state": str(self.state),
            "version": self.version,
            **self.plan.as_dict(),
            "claims": self.claims,
            "created_at": self.created_at.isoformat(),
            "updated_at": self.updated_at.isoformat(),
            "deadline_at": None if self.deadline_at is None else self.deadline_at.isoformat(),
            "facts": dict(self.facts),
        }


def is_done(move: Move, step: MoveStep) -> bool:
    """Return whether a step was done already, so that asking again changes nothing.

    Raises:
        Refused: the step neither was done nor leads on from the move's state.
    """
    if move.state in _DONE[step]:
        return True
    if move.state in _FROM[step]:
        return False
    if move.state.ended:
        raise Refused(f"{step} of move {move.number}", f"it is {move.state} already")
    wanted = " or ".join(sorted(_FROM[step]))
    raise Refused(f"{step} of move {move.number}", f"it is {move.state}, not {wanted}")


def deadline(plan: MovePlan, state: MoveState, now: datetime) -> datetime | None:
    """Return when a state that begins now times out; None: never."""
    if state is MoveState.FROZEN:
        return now + plan.freeze_for
    if state.ended or state.switched:
        return None
    return now + plan.prepare_for
