"""The steps of a move. Each is one transaction: what it checks and what it writes go together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from control_plane.topology.cells import get_cell
from control_plane.topology.claims.moves import holds, rows, selection
from control_plane.topology.storage import Transaction
from control_plane.topology.values import Cell, ClaimKey, Refused
from control_plane.topology.values.move import (
    Move,
    MovePlan,
    MoveState,
    MoveStep,
    deadline,
    is_done,
)
from control_plane.topology.values.move_gates import cell_problems, switch_problems


def plan(tx: Transaction, planned: MovePlan) -> Move:
    """Write down a move and its claims; see `TenantMoves.plan`."""
    source, target = _cells(tx, planned)
    if source.id == target.id:
        raise Refused(f"moving claims from {source.name}", "the target is the same cell")
    keys = selection.select_claims(tx, planned.selection, source.id)
    number = rows.next_number(tx.connection)
    selection.remember(tx, number, keys)
    if "subject" not in planned.selection:
        # A list or a batch keeps the claims that it was planned with, which are remembered.
        planned = replace(planned, selection={"listed": len(keys)})
    state = MoveState.PLANNED
    event = {
        "at": tx.at.isoformat(), "step": str(state), "actor": tx.actor, "why": planned.reason,
        "revision": tx.revision,
    }  # fmt: skip
    return rows.add(
        tx,
        Move(
            number, state, tx.revision, source.id, target.id, planned, len(keys), tx.at, tx.at,
            deadline(planned, state, tx.at), events=(event,),
        ),
    )  # fmt: skip


def preflight(tx: Transaction, move: Move) -> Move:
    """Check everything that can be checked before anything changes."""
    if is_done(move, MoveStep.PREFLIGHT):
        return move
    keys = _select_anew(tx, move, MoveStep.PREFLIGHT)
    return rows.enter(tx, move, MoveState.PREFLIGHT, claims=len(keys))


def rehearse(tx: Transaction, move: Move) -> Move:
    """Send test users to the target."""
    if is_done(move, MoveStep.REHEARSE):
        return move
    if not move.plan.testers:
        raise Refused(f"rehearsing move {move.number}", "its plan names no test users")
    return _hold(tx, move, MoveStep.REHEARSE)


def freeze(tx: Transaction, move: Move) -> Move:
    """Refuse what the move's plan refuses."""
    if is_done(move, MoveStep.FREEZE):
        return move
    return _hold(tx, move, MoveStep.FREEZE)


def _hold(tx: Transaction, move: Move, step: MoveStep) -> Move:
    keys = _select_anew(tx, move, step)
    held = set(holds.held_keys(tx, move))
    if held - set(keys):
        # What has left the selection since the rehearsal is held no longer.
        holds.let_go(tx, move)
    holds.hold(tx, move, keys)
    state = MoveState.FROZEN if step is MoveStep.FREEZE else MoveState.REHEARSED
    facts: dict[str, Any] = {"held_revision": tx.revision, "in_force_at": None}
    return rows.enter(tx, move, state, claims=len(keys), facts=facts)


def switch(tx: Transaction, move: Move) -> Move:
    """Give all claims of the move to the target, under one revision."""
    if is_done(move, MoveStep.SWITCH):
        return move
    what = f"switching move {move.number}"
    _check(what, switch_problems(move, tx.at))
    _check_cells(tx, move, what)
    keys = selection.owned_by(tx, _switched_keys(tx, move), move.source_id)
    if not keys:
        raise Refused(what, f"{move.plan.source} owns none of its claims any more; roll it back")
    selection.remember(tx, move.number, keys)
    holds.give(tx, move, keys)
    # What the source does not own any more is not the move's to give.
    holds.let_go(tx, move)
    facts = {"switch_revision": tx.revision, "switched_at": tx.at.isoformat()}
    return rows.enter(tx, move, MoveState.SWITCHED, claims=len(keys), facts=facts)


def _switched_keys(tx: Transaction, move: Move) -> list[ClaimKey]:
    """Return the claims of the subject as of now, or those of the list that are held.

    A cell may have given a held claim to another subject, with which it stays, and may have got new
    ones for this subject.
    """
    if "subject" in move.plan.selection:
        return selection.select_claims(tx, move.plan.selection, move.source_id)
    return holds.held_keys(tx, move)


def acknowledged(tx: Transaction, move: Move, revision: int, seen: dict[str, Any]) -> Move:
    """Record that all Envoys run a revision; see `TenantMoves.acknowledged`."""
    at = tx.at.isoformat()
    if move.state.holds and revision >= move.facts["held_revision"]:
        if move.at("in_force_at") is not None:
            return move
        return rows.note(tx, move, "in-force", facts={"in_force_at": at}, event=seen)
    if move.state is MoveState.SWITCHED and revision >= move.facts["switch_revision"]:
        return rows.enter(tx, move, MoveState.WATCHING, facts={"settled_at": at}, event=seen)
    return move


def complete(tx: Transaction, move: Move) -> Move:
    """End a move: from here on nothing leads back."""
    if is_done(move, MoveStep.COMPLETE):
        return move
    selection.forget(tx, move.number)
    return rows.enter(tx, move, MoveState.COMPLETED)


def rollback(tx: Transaction, move: Move, why: str) -> Move:
    """Undo a move: give back what was given, hold nothing."""
    if is_done(move, MoveStep.ROLLBACK):
        return move
    claims = move.claims
    if move.state.switched:
        source = get_cell(tx.connection, move.plan.source)
        if source.id != move.source_id or source.retired:
            raise Refused(f"rolling back move {move.number}", f"{source.name} is retired")
        given = selection.remembered(tx, move.number)
        keys = selection.owned_by(tx, given, move.target_id)
        holds.give(tx, move, keys, back=True)
        claims = len(keys)
    # Whatever the state: a hold that was left over would refuse requests for ever.
    holds.let_go(tx, move)
    selection.forget(tx, move.number)
    facts = {"rolled_back_from": str(move.state), "back_revision": tx.revision}
    return rows.enter(tx, move, MoveState.ROLLED_BACK, why=why, claims=claims, facts=facts)


def _select_anew(tx: Transaction, move: Move, step: MoveStep) -> list[ClaimKey]:
    """Return the claims that the move takes as of now; raise what keeps it from the step."""
    what = f"{step} of move {move.number}"
    _check_cells(tx, move, what)
    if "subject" in move.plan.selection:
        keys = selection.select_claims(tx, move.plan.selection, move.source_id)
    else:
        listed = selection.remembered(tx, move.number)
        keys = selection.owned_by(tx, listed, move.source_id)
        if not keys:
            raise Refused(what, f"{move.plan.source} owns none of its claims any more")
    selection.remember(tx, move.number, keys)
    return keys


def _check_cells(tx: Transaction, move: Move, what: str) -> None:
    source, target = _cells(tx, move.plan)
    if (source.id, target.id) != (move.source_id, move.target_id):
        raise Refused(what, "a cell was deleted, and another one has its name")
    _check(what, cell_problems(source, target, one_way=move.plan.one_way))


def _cells(tx: Transaction, planned: MovePlan) -> tuple[Cell, Cell]:
    return get_cell(tx.connection, planned.source), get_cell(tx.connection, planned.target)


def _check(what: str, problems: Iterable[str]) -> None:
    found = list(problems)
    if found:
        raise Refused(what, "; ".join(found))
