"""Operations: work in many transactions that goes on after the request that started it."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, delete, insert, select, tuple_, update

from control_plane.topology.storage import Store, Transaction, clock, moment, schema
from control_plane.topology.values import NotFound, Refused

SILENT = timedelta(seconds=60)
"""An operation without a note for so long is shown as interrupted: its process has died."""
MAX_ENDED = 1000
"""Ended operations that are remembered."""
MAX_DETAIL = 1000
Progress = Callable[[int], None]
"""Called after each transaction with how much is done; what it raises interrupts the work."""
_T = schema.operations


class OperationState(enum.StrEnum):
    """``interrupted``: broken off between two transactions; starting it again goes on."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Operation:
    """Work of which ``done`` of ``total`` items are done; times are by the database's clock."""

    id: str
    kind: str
    target: str
    actor: str
    state: OperationState
    done: int
    total: int | None
    detail: str
    started_at: datetime
    updated_at: datetime

    def as_dict(self) -> dict[str, Any]:
        """Return it in plain JSON types."""
        return {
            "id": self.id,
            "kind": self.kind,
            "target": self.target,
            "state": str(self.state),
            "done": self.done,
            "total": self.total,
            "detail": self.detail,
            "actor": self.actor,
            "started_at": self.started_at.isoformat(),
            "updated_at": self.updated_at.isoformat(),
        }


def no_progress(_: int) -> None:
    """Ignore progress."""


class Operations:
    """Records operations; each method is one transaction, and none takes a revision."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def start(self, kind: str, target: str, total: int | None, *, actor: str) -> Operation:
        """Record that an operation starts; raise `Refused` while the same one runs anywhere.

        Args:
            kind: what is done.
            target: what it is done to: one operation of a kind and a target runs at a time.
            total: the number of items, if it is known.
            actor: who started it.
        """
        return self._store.write(actor, lambda tx: _start(tx, kind, target, total))[0]

    def note(
        self,
        operation: str,
        done: int,
        state: OperationState = OperationState.RUNNING,
        detail: str = "",
    ) -> None:
        """Record how much is done, or how the operation ended."""

        def work(tx: Transaction) -> None:
            values = {"done": done, "state": str(state), "detail": detail[:MAX_DETAIL]}
            tx.connection.execute(
                update(_T)
                .where(_T.c.id == operation)
                .values(**values, updated_at=clock(tx.connection))
            )

        self._store.write("operations", work)

    def get(self, operation: str) -> Operation:
        """Return one operation; raise `NotFound` if there is none of this id."""
        with self._store.read() as connection:
            row = connection.execute(select(_T).where(_T.c.id == operation)).one_or_none()
            if row is None:
                raise NotFound("operation", operation)
            return _operation(row, clock(connection))

    def page(
        self, *, before: tuple[datetime, str] | None = None, limit: int = 100
    ) -> list[Operation]:
        """Return operations, the newest first; only those before a (time of start, id)."""
        query = select(_T).order_by(_T.c.started_at.desc(), _T.c.id.desc())
        if before is not None:
            query = query.where(tuple_(_T.c.started_at, _T.c.id) < before)
        with self._store.read() as connection:
            now = clock(connection)
            return [_operation(row, now) for row in connection.execute(query.limit(limit))]


def _start(tx: Transaction, kind: str, target: str, total: int | None) -> Operation:
    now = clock(tx.connection)
    same = select(_T).where(_T.c.kind == kind, _T.c.target == target)
    for row in tx.connection.execute(same.where(_T.c.state == "running")):
        other = _operation(row, now)
        if other.state is OperationState.RUNNING:
            raise Refused(f"{kind} of {target}", f"operation {other.id} does it already")
    running = OperationState.RUNNING
    operation = Operation(
        str(uuid.uuid4()), kind, target, tx.actor, running, 0, total, "", now, now
    )
    tx.connection.execute(insert(_T).values(**_columns(operation)))
    newest = select(_T.c.id).order_by(_T.c.started_at.desc()).limit(MAX_ENDED).subquery()
    tx.connection.execute(
        delete(_T).where(_T.c.state != "running", _T.c.id.not_in(select(newest.c.id)))
    )
    return operation


def _columns(one: Operation) -> dict[str, Any]:
    return {name: getattr(one, name) for name in Operation.__slots__} | {"state": str(one.state)}


def _operation(row: Row[Any], now: datetime) -> Operation:
    state = OperationState(row.state)
    updated = moment(row.updated_at)
    if state is OperationState.RUNNING and now - updated > SILENT:
        state = OperationState.INTERRUPTED
    return Operation(
        row.id, row.kind, row.target, row.actor, state, row.done, row.total, row.detail,
        moment(row.started_at), updated,
    )  # fmt: skip
