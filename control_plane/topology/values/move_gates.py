"""The gates of a move: why a step may not be done yet, and what comes next. Pure.

Facts of a move are times (ISO) and revisions:

* ``held_revision``, ``in_force_at``: the freeze's revision, and when all Envoys ran it
* ``switch_revision``, ``switched_at``, ``settled_at``: the same of the switch
* ``back_verified_at``, ``forth_verified_at``: what the mover of the data has said

A verification counts only if it was made after the freeze came into force: what was compared while
writes went on says nothing of the writes that came after. The way back is looked at before the way
forth, because a switch that can't be undone must not be made.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from control_plane.topology.values.cell import Cell
from control_plane.topology.values.move import Move, MoveState

DRAINED = {True: "shown", False: "no", None: "unknown"}
"""Words for what `drained_of` returns."""
_WAYS = (("back", "the way back"), ("forth", "the data at the target"))


def cell_problems(source: Cell, target: Cell, *, one_way: bool) -> Iterator[str]:
    """Yield why a move from one cell to the other can't be made, or not be undone."""
    if not one_way and not source.serving:
        yield f"the way back is closed: {source.name} is {_condition(source)}, and serves nothing"
    if not target.state.takes_new:
        yield f"{target.name} is {target.state}, and takes no new tenants"
    if not target.serving:
        yield f"{target.name} is {_condition(target)}, and serves nothing"


def _condition(cell: Cell) -> str:
    return str(cell.state) if cell.healthy else f"{cell.state} and down"


def switch_problems(move: Move, now: datetime) -> Iterator[str]:
    """Yield why a frozen move may not be switched yet."""
    in_force = move.at("in_force_at")
    if in_force is None:
        yield "the freeze is not known to be in force at all Envoys: repeat freeze with --wait"
        return
    if move.plan.needs_verification:
        for way, words in _WAYS[move.plan.one_way :]:
            problem = _verification_problem(move, way, in_force, now)
            if problem is not None:
                yield f"{words} {problem}"
                return
    drained = drained_of(move)
    if drained is False:
        yield "requests from before the freeze are still under way, by the last report"
    elif drained is None and move.plan.needs_drained:
        yield "nobody has reported twice that nothing is under way at the source"


def _verification_problem(move: Move, way: str, in_force: datetime, now: datetime) -> str | None:
    at = move.at(f"{way}_verified_at")
    if at is None:
        return "is not verified"
    if at < in_force:
        return "was verified before the freeze was in force: verify it again"
    if now - at > move.plan.verification_max_age:
        limit = move.plan.verification_max_age.total_seconds()
        return f"was verified more than {limit:.0f} s ago: verify it again"
    return None


def drained_of(move: Move) -> bool | None:
    """Return whether nothing from before the freeze is under way, as reports say; None: unknown.

    It takes two reports in a row by the same reporter, both made after the freeze came into force.
    """
    in_force = move.at("in_force_at")
    if in_force is None:
        return None
    newest: dict[str, list[int]] = {}
    for report in move.reports:
        if report["in_flight"] is None or datetime.fromisoformat(report["at"]) < in_force:
            continue
        newest.setdefault(report["reporter"], []).append(report["in_flight"])
    if any(counts[-1] > 0 for counts in newest.values()):
        return False
    if newest and all(counts[-2:] == [0, 0] for counts in newest.values()):
        return True
    return None


def next_steps(move: Move) -> list[str]:
    """Return the commands that lead on from here, the usual one first."""
    number = move.number
    back = f"cellway move rollback {number} --wait"
    if move.state is MoveState.PLANNED:
        return [f"cellway move preflight {number}", back]
    if move.state is MoveState.PREFLIGHT:
        freeze = f"cellway move freeze {number} --wait"
        return [freeze, f"cellway move rehearse {number} --wait", back]
    if move.state is MoveState.REHEARSED:
        return [f"cellway move freeze {number} --wait", back]
    if move.state is MoveState.FROZEN:
        if move.at("in_force_at") is None:
            return [f"cellway move freeze {number} --wait", back]
        switch = f"cellway move switch {number} --wait"
        if next(switch_problems(move, move.updated_at), None) is None:
            return [switch, back]
        return [f"cellway move verified {number} --back --forth", switch, back]
    if move.state is MoveState.SWITCHED:
        return [f"cellway move switch {number} --wait", back]
    if move.state is MoveState.WATCHING:
        return [f"cellway move complete {number}", back]
    return [f"cellway move certificate {number}"]
