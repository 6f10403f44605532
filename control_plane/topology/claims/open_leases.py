"""Open leases, as cells and operators see them; operators settle those whose cell can't."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, or_, select

from control_plane.names import MAX_PAGE
from control_plane.topology.cells import get_cell
from control_plane.topology.claims.leases import Leases, Outcome
from control_plane.topology.claims.texts import check_reason
from control_plane.topology.operations import Progress, no_progress
from control_plane.topology.storage import Store, chunked, clock, moment, schema
from control_plane.topology.values import (
    Lease,
    LeaseBacklog,
    LeaseSettled,
    NotFound,
    OpenLease,
    RecordStatus,
)

SETTLE_PAGE = 100
_C = schema.claims
_L = schema.leases


class OpenLeases:
    """Reads and settles open leases; ages are by the database's clock.

    A lease never expires. Its cell settles it when it reconciles; an operator settles it if the
    cell can't.
    """

    def __init__(self, store: Store, leases: Leases) -> None:
        self._store = store
        self._leases = leases

    def page(
        self,
        cell_id: int | None = None,
        *,
        after: str | None = None,
        limit: int = 100,
        created_after: datetime | None = None,
    ) -> list[Lease]:
        """Return open leases ordered by uuid.

        Args:
            cell_id: only leases of this cell; None for all cells.
            after: only uuids above this one: the last of the page before.
            limit: 1 to 1,000.
            created_after: only leases that are younger.
        """
        query = select(_L).where(_L.c.settled_at.is_(None)).order_by(_L.c.uuid)
        if cell_id is not None:
            query = query.where(_L.c.cell_id == cell_id)
        if after is not None:
            query = query.where(_L.c.uuid > after)
        if created_after is not None:
            query = query.where(_L.c.created_at > created_after)
        with self._store.read() as connection:
            rows = connection.execute(query.limit(min(max(limit, 1), MAX_PAGE))).all()
        return [
            Lease(row.uuid, row.cell_id, moment(row.created_at), moment(row.updated_at))
            for row in rows
        ]

    def oldest(
        self,
        cell: str | None = None,
        *,
        older_than_s: float = 0,
        after: tuple[datetime, str] | None = None,
        limit: int = 100,
    ) -> list[OpenLease]:
        """Return open leases, the oldest first; raise `NotFound` if there is no such cell.

        Args:
            cell: only leases of this cell; None for all cells.
            older_than_s: only leases that are older.
            after: only what follows this (time of creation, uuid): the last of the page before.
            limit: 1 to 1,000.
        """
        query = _open().order_by(_L.c.created_at, _L.c.uuid)
        with self._store.read() as connection:
            now = clock(connection)
            if cell is not None:
                query = query.where(_L.c.cell_id == get_cell(connection, cell).id)
            if older_than_s > 0:
                query = query.where(_L.c.created_at < now - timedelta(seconds=older_than_s))
            if after is not None:
                later = and_(_L.c.created_at == after[0], _L.c.uuid > after[1])
                query = query.where(or_(_L.c.created_at > after[0], later))
            rows = connection.execute(query.limit(min(max(limit, 1), MAX_PAGE))).all()
            return _open_leases(connection, rows, now)

    def get(self, lease: str) -> OpenLease:
        """Return one open lease; raise `NotFound` if there is none, or it is settled."""
        with self._store.read() as connection:
            rows = connection.execute(_open().where(_L.c.uuid == lease)).all()
            if not rows:
                raise NotFound("open lease", lease)
            return _open_leases(connection, rows, clock(connection))[0]

    def count(self, cell: str) -> int:
        """Return the number of a cell's open leases; raise `NotFound` if there is no such cell."""
        query = select(func.count()).select_from(_L).where(_L.c.settled_at.is_(None))
        with self._store.read() as connection:
            query = query.where(_L.c.cell_id == get_cell(connection, cell).id)
            return int(connection.execute(query).scalar_one())

    def backlog(self) -> LeaseBacklog:
        """Return how many leases are open and how old the oldest is: a cause for alarm."""
        query = select(func.count().label("number"), func.min(_L.c.created_at).label("first"))
        with self._store.read() as connection:
            row = connection.execute(query.where(_L.c.settled_at.is_(None))).one()
            age_s = 0.0
            if row.number:
                age_s = (clock(connection) - moment(row.first)).total_seconds()
        return LeaseBacklog(row.number, max(age_s, 0.0))

    def settle(self, lease: str, outcome: Outcome, *, reason: str, actor: str) -> int:
        """Settle one open lease whose cell can't do so itself; return the revision.

        Raises:
            Invalid: the reason is missing or too long.
            NotFound: there is no such open lease.
            LeaseSettled: its cell was quicker, and settled it the other way.
        """
        check_reason(reason)
        cell_id = self.get(lease).cell_id
        write = self._leases.settling(cell_id, lease, outcome, actor=actor, reason=reason)
        return self._store.write_statements(write)

    def settle_all(
        self,
        cell: str,
        outcome: Outcome,
        *,
        reason: str,
        actor: str,
        progress: Progress = no_progress,
    ) -> int:
        """Settle every open lease of a cell that won't come back; return how many.

        The cell is the authority for its outcomes: this is for a cell that can't decide any more.
        Each lease is a transaction of its own. After an interruption, call it again to go on.

        Raises:
            Invalid: the reason is missing or too long.
            NotFound: there is no such cell.
        """
        check_reason(reason)
        with self._store.read() as connection:
            cell_id = get_cell(connection, cell).id
        settled = 0
        for page in self._pages(cell_id):
            for lease in page:
                write = self._leases.settling(
                    cell_id, lease.uuid, outcome, actor=actor, reason=reason
                )
                # If the cell is quicker, its outcome counts.
                with suppress(LeaseSettled):
                    self._store.write_statements(write)
                    settled += 1
            progress(settled)
        return settled

    def _pages(self, cell_id: int) -> Iterator[list[Lease]]:
        after: str | None = None
        while True:
            page = self.page(cell_id, after=after, limit=SETTLE_PAGE)
            yield page
            if len(page) < SETTLE_PAGE:
                return
            after = page[-1].uuid


def _open() -> Select[Any]:
    cells = schema.cells
    query = select(_L, cells.c.name).join(cells, cells.c.id == _L.c.cell_id, isouter=True)
    return query.where(_L.c.settled_at.is_(None))


def _open_leases(
    connection: Connection, rows: Sequence[Row[Any]], now: datetime
) -> list[OpenLease]:
    """Count each lease's claims, and return the leases in the order of their rows."""
    counts: Counter[tuple[str, str]] = Counter()
    for chunk in chunked([row.uuid for row in rows]):
        query = select(_C.c.lease, _C.c.status, func.count()).where(_C.c.lease.in_(chunk))
        for lease, status, number in connection.execute(query.group_by(_C.c.lease, _C.c.status)):
            counts[lease, status] = number
    leases: list[OpenLease] = []
    for row in rows:
        begun = moment(row.created_at)
        age_s = max((now - begun).total_seconds(), 0.0)
        kinds = (counts[row.uuid, str(s)] for s in (RecordStatus.CREATING, RecordStatus.DESTROYING))
        name = row.name or f"{row.cell_id}, deleted"
        leases.append(OpenLease(row.uuid, row.cell_id, name, begun, age_s, *kinds))
    return leases
