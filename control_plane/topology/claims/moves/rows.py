"""Reads moves from the database, and writes them: a row for each, whose document is JSON."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from control_plane.topology.storage import Transaction, moment, schema
from control_plane.topology.values import NotFound, StaleVersion
from control_plane.topology.values.move import (
    MAX_EVENTS,
    MAX_REPORTS,
    Move,
    MovePlan,
    MoveState,
    deadline,
)

_T = schema.moves
MAX_NUMBER = 2**31 - 1


def next_number(connection: Connection) -> int:
    """Return the number of the next move; no number is given twice."""
    highest = connection.execute(select(func.max(_T.c.id))).scalar_one()
    return int(highest or 0) + 1


def get(connection: Connection, number: int, expected_version: int | None = None) -> Move:
    """Return a move.

    Raises:
        NotFound: there is none of this number.
        StaleVersion: it is not at the expected version.
    """
    row = None
    if 0 < number <= MAX_NUMBER:
        row = connection.execute(select(_T).where(_T.c.id == number)).one_or_none()
    if row is None:
        raise NotFound("move", str(number))
    move = _move(row)
    if expected_version is not None and move.version != expected_version:
        raise StaleVersion("move", str(number), expected_version, move.version)
    return move


def page(connection: Connection, before: int | None, limit: int) -> list[Move]:
    """Return moves, the newest first; only those with a number below ``before``."""
    query = select(_T).order_by(_T.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(_T.c.id < before)
    return [_move(row) for row in connection.execute(query)]


def in_states(connection: Connection, states: Collection[MoveState]) -> list[Move]:
    """Return the moves in some states, by number."""
    query = select(_T).where(_T.c.state.in_([str(one) for one in states])).order_by(_T.c.id)
    return [_move(row) for row in connection.execute(query)]


def count(connection: Connection) -> dict[str, int]:
    """Return how many moves are in each state that some are in."""
    query = select(_T.c.state, func.count()).group_by(_T.c.state)
    return {row[0]: row[1] for row in connection.execute(query)}


def add(tx: Transaction, move: Move) -> Move:
    """Store a new move, and log it."""
    tx.connection.execute(insert(_T).values(id=move.number, **_columns(move)))
    tx.log("move", str(move.state), str(move.number), None, move.summary())
    return move


def enter(
    tx: Transaction,
    move: Move,
    state: MoveState,
    *,
    why: str = "",
    facts: Mapping[str, Any] | None = None,
    claims: int | None = None,
    event: Mapping[str, Any] | None = None,
) -> Move:
    """Bring a move to a state, with what is known from now on; log it, and return the move."""
    entry = {"at": tx.at.isoformat(), "step": str(state), "actor": tx.actor, "why": why}
    entered = replace(
        move,
        state=state,
        version=tx.revision,
        updated_at=tx.at,
        deadline_at=(
            move.deadline_at if state is move.state else deadline(move.plan, state, tx.at)
        ),
        facts={**move.facts, **(facts or {})},
        claims=move.claims if claims is None else claims,
        events=(*move.events, {**entry, "revision": tx.revision, **(event or {})})[-MAX_EVENTS:],
    )
    return _store(tx, move, entered, str(state))


def note(
    tx: Transaction,
    move: Move,
    what: str,
    *,
    facts: Mapping[str, Any] | None = None,
    event: Mapping[str, Any] | None = None,
    report: Mapping[str, Any] | None = None,
) -> Move:
    """Record something about a move that stays in its state; log it, and return the move."""
    events, reports = move.events, move.reports
    if event is not None:
        entry = {"at": tx.at.isoformat(), "step": what, "actor": tx.actor}
        events = (*events, {**entry, "revision": tx.revision, **event})[-MAX_EVENTS:]
    if report is not None:
        reports = (*reports, {"at": tx.at.isoformat(), "by": tx.actor, **report})[-MAX_REPORTS:]
    noted = replace(
        move,
        version=tx.revision,
        updated_at=tx.at,
        facts={**move.facts, **(facts or {})},
        events=events,
        reports=reports,
    )
    return _store(tx, move, noted, what)


def _store(tx: Transaction, before: Move, after: Move, action: str) -> Move:
    tx.connection.execute(update(_T).where(_T.c.id == after.number).values(**_columns(after)))
    tx.log("move", action, str(after.number), before.summary(), after.summary())
    return after


def _columns(move: Move) -> dict[str, Any]:
    document = {
        "plan": move.plan.as_dict(),
        "claims": move.claims,
        "facts": dict(move.facts),
        "events": list(move.events),
        "reports": list(move.reports),
    }
    return {
        "state": str(move.state),
        "version": move.version,
        "source_id": move.source_id,
        "target_id": move.target_id,
        "created_at": move.created_at,
        "updated_at": move.updated_at,
        "deadline_at": move.deadline_at,
        "document": json.dumps(document),
    }


def _move(row: Row[Any]) -> Move:
    document = json.loads(row.document)
    deadline_at: datetime | None = row.deadline_at
    return Move(
        row.id,
        MoveState(row.state),
        row.version,
        row.source_id,
        row.target_id,
        MovePlan.of(document["plan"]),
        document["claims"],
        moment(row.created_at),
        moment(row.updated_at),
        None if deadline_at is None else moment(deadline_at),
        document["facts"],
        tuple(document["events"]),
        tuple(document["reports"]),
    )
