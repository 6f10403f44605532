"""Operations: work in many transactions that goes on after the request that began it."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, delete, insert, select, tuple_, update

from control_plane.topology.storage import schema
from control_plane.topology.storage.statements import clock, moment
from control_plane.topology.storage.store import Store
from control_plane.topology.storage.transaction import Transaction
from control_plane.topology.values.errors import NotFound, Refused

SILENT = timedelta(seconds=60)
"""Without news for so long, an operation's process has died: it is shown as interrupted."""
KEPT = 1000
MAX_DETAIL = 1000
Progress = Callable[[int], None]
"""Told how much is done after each transaction; what it raises breaks the work off there."""
_T = schema.operations


class OperationState(enum.StrEnum):
    """``interrupted``: broken off between two transactions; starting it again goes on."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Operation:
    """``done`` of ``total`` (claims, leases); times are of the database's clock."""

    id: str
    kind: str
    target: str
    state: OperationState
    done: int
    total: int | None
    detail: str
    actor: str
    started_at: datetime
    updated_at: datetime

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
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


def nothing(_: int) -> None:
    """Tells nobody."""


class OperationCalls:
    """Each method is one transaction; none takes a revision."""

    _store: Store

    def begin_operation(
        self, kind: str, target: str, total: int | None, *, actor: str
    ) -> Operation:
        """Note that it has begun; raises `Refused` while the same runs, in any process."""

        def work(tx: Transaction) -> Operation:
            now = clock(tx.connection)
            same = select(_T).where(_T.c.kind == kind, _T.c.target == target)
            for row in tx.connection.execute(same.where(_T.c.state == "running")):
                other = _operation(row, now)
                if other.state is OperationState.RUNNING:
                    raise Refused(f"{kind} of {target}", f"operation {other.id} does it already")
            made = Operation(
                str(uuid.uuid4()), kind, target, OperationState.RUNNING, 0, total, "", tx.actor,
                now, now,
            )  # fmt: skip
            tx.connection.execute(insert(_T).values(**_columns(made)))
            newest = select(_T.c.id).order_by(_T.c.started_at.desc()).limit(KEPT).subquery()
            tx.connection.execute(
                delete(_T).where(_T.c.state != "running", _T.c.id.not_in(select(newest.c.id)))
            )
            return made

        return self._store.write(actor, work)[0]

    def note_operation(
        self, operation: str, done: int, state: OperationState = OperationState.RUNNING,
        detail: str = "",
    ) -> None:  # fmt: skip
        """Note how far it is, or how it ended."""

        def work(tx: Transaction) -> None:
            values = {"done": done, "state": str(state), "detail": detail[:MAX_DETAIL]}
            tx.connection.execute(
                update(_T)
                .where(_T.c.id == operation)
                .values(**values, updated_at=clock(tx.connection))
            )

        self._store.write("operations", work)

    def operation(self, operation: str) -> Operation:
        """One of them; raises `NotFound`."""
        with self._store.read() as connection:
            row = connection.execute(select(_T).where(_T.c.id == operation)).one_or_none()
            if row is None:
                raise NotFound("operation", operation)
            return _operation(row, clock(connection))

    def operations(
        self, *, before: tuple[datetime, str] | None = None, limit: int = 100
    ) -> list[Operation]:
        """The newest first, before one."""
        query = select(_T).order_by(_T.c.started_at.desc(), _T.c.id.desc())
        if before is not None:
            query = query.where(tuple_(_T.c.started_at, _T.c.id) < before)
        with self._store.read() as connection:
            now = clock(connection)
            return [_operation(row, now) for row in connection.execute(query.limit(limit))]


def _columns(one: Operation) -> dict[str, Any]:
    return {name: getattr(one, name) for name in Operation.__slots__} | {"state": str(one.state)}


def _operation(row: Row[Any], now: datetime) -> Operation:
    state = OperationState(row.state)
    updated = moment(row.updated_at)
    if state is OperationState.RUNNING and now - updated > SILENT:
        state = OperationState.INTERRUPTED
    return Operation(
        row.id, row.kind, row.target, state, row.done, row.total, row.detail, row.actor,
        moment(row.started_at), updated,
    )  # fmt: skip
