"""Reads of the claims protocol: records, and the leases that are open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, literal_column, or_, select

from control_plane.names import MAX_PAGE
from control_plane.topology.storage import schema
from control_plane.topology.storage.statements import chunked, clock, moment
from control_plane.topology.values.claim import Lease, Record, RecordSpec, RecordStatus
from control_plane.topology.values.claim_key import normalise
from control_plane.topology.values.errors import Invalid, NotFound, Problem

_C = schema.claims
_L = schema.leases


def record(connection: Connection, bucket: str, value: str) -> Record:
    """One record; raises `NotFound` or `Invalid`."""
    normal = normalise(bucket, value)
    query = select(_C).where(_C.c.bucket == bucket, _C.c.value == normal)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound("claim", f"{bucket}:{normal}")
    return _record(row)


def by_source(
    connection: Connection,
    cell_id: int,
    source_type: int,
    buckets: Collection[str],
    after: bytes,
    upto: bytes | None,
    limit: int,
) -> tuple[list[Record], bool]:
    """A cell's records of one source type, source id in (after, upto], by source id.

    All records of one source id come together, so that the last one's id is a cursor: a page may
    so be shorter or (where one source id has more) longer than ``limit``. True if more follow.
    """
    if source_type <= 0:
        raise Invalid(Problem("source_type", "is missing", "name one table"))
    query = (
        select(_C)
        .where(_C.c.cell_id == cell_id, _C.c.source_type == source_type, _C.c.source_id > after)
        # The partial index holds rows with a source only; no engine infers that from a parameter.
        .where(_C.c.source_type > literal_column("0"))
        .order_by(_C.c.source_id, _C.c.bucket, _C.c.value)
    )
    if upto is not None:
        query = query.where(_C.c.source_id <= upto)
    if buckets:
        query = query.where(_C.c.bucket.in_(sorted(buckets)))
    limit = min(max(limit, 1), MAX_PAGE)
    rows = connection.execute(query.limit(limit + 1)).all()
    if len(rows) <= limit:
        return [_record(row) for row in rows], False
    cut = rows[-1].source_id
    whole = [row for row in rows if row.source_id != cut]
    if not whole:
        whole = list(connection.execute(query.where(_C.c.source_id == cut)).all())
        rest = connection.execute(query.where(_C.c.source_id > cut).limit(1)).first()
        return [_record(row) for row in whole], rest is not None
    return [_record(row) for row in whole], True


def open_leases(
    connection: Connection,
    cell_id: int | None,
    *,
    after: str | None,
    limit: int,
    created_after: datetime | None,
) -> list[Lease]:
    """Open leases by uuid, of one cell or of all; at most ``limit`` (1 to 1,000)."""
    query = select(_L).where(_L.c.settled_at.is_(None)).order_by(_L.c.uuid)
    if cell_id is not None:
        query = query.where(_L.c.cell_id == cell_id)
    if after is not None:
        query = query.where(_L.c.uuid > after)
    if created_after is not None:
        query = query.where(_L.c.created_at > created_after)
    rows = connection.execute(query.limit(min(max(limit, 1), MAX_PAGE)))
    return [
        Lease(row.uuid, row.cell_id, moment(row.created_at), moment(row.updated_at)) for row in rows
    ]


@dataclass(frozen=True, slots=True)
class OpenLease:
    """An open lease as an operator sees it; ``creating`` and ``destroying`` count its claims."""

    uuid: str
    cell_id: int
    cell: str
    created_at: datetime
    age_s: float
    creating: int
    destroying: int

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "lease": self.uuid,
            "cell": self.cell,
            "cell_id": self.cell_id,
            "created_at": self.created_at.isoformat(),
            "age_s": round(self.age_s, 3),
            "creating": self.creating,
            "destroying": self.destroying,
        }


def oldest_leases(
    connection: Connection,
    cell_id: int | None,
    older_than_s: float,
    after: tuple[datetime, str] | None,
    limit: int,
) -> list[OpenLease]:
    """Open leases, the oldest first; at most ``limit`` (1 to 1,000)."""
    now = clock(connection)
    query = _open().order_by(_L.c.created_at, _L.c.uuid)
    if cell_id is not None:
        query = query.where(_L.c.cell_id == cell_id)
    if older_than_s > 0:
        query = query.where(_L.c.created_at < now - timedelta(seconds=older_than_s))
    if after is not None:
        later = and_(_L.c.created_at == after[0], _L.c.uuid > after[1])
        query = query.where(or_(_L.c.created_at > after[0], later))
    rows = connection.execute(query.limit(min(max(limit, 1), MAX_PAGE))).all()
    return _told(connection, rows, now)


def open_lease(connection: Connection, lease: str) -> OpenLease:
    """One open lease; raises `NotFound`."""
    rows = connection.execute(_open().where(_L.c.uuid == lease)).all()
    if not rows:
        raise NotFound("open lease", lease)
    return _told(connection, rows, clock(connection))[0]


def count_leases(connection: Connection, cell_id: int) -> int:
    """The number of a cell's open leases."""
    query = select(func.count()).select_from(_L)
    query = query.where(_L.c.settled_at.is_(None), _L.c.cell_id == cell_id)
    return int(connection.execute(query).scalar_one())


@dataclass(frozen=True, slots=True)
class LeaseBacklog:
    """How many leases are open, and how old the oldest is (0 where there is none)."""

    open: int
    oldest_s: float


def backlog(connection: Connection) -> LeaseBacklog:
    """The open leases together."""
    query = select(func.count().label("number"), func.min(_L.c.created_at).label("first"))
    row = connection.execute(query.where(_L.c.settled_at.is_(None))).one()
    age_s = (clock(connection) - moment(row.first)).total_seconds() if row.number else 0.0
    return LeaseBacklog(row.number, max(age_s, 0.0))


def _open() -> Select[Any]:
    cells = schema.cells
    query = select(_L, cells.c.name).join(cells, cells.c.id == _L.c.cell_id, isouter=True)
    return query.where(_L.c.settled_at.is_(None))


def _told(connection: Connection, rows: Sequence[Row[Any]], now: datetime) -> list[OpenLease]:
    counts: Counter[tuple[str, str]] = Counter()
    for chunk in chunked([row.uuid for row in rows]):
        query = select(_C.c.lease, _C.c.status, func.count()).where(_C.c.lease.in_(chunk))
        for lease, status, number in connection.execute(query.group_by(_C.c.lease, _C.c.status)):
            counts[lease, status] = number
    found: list[OpenLease] = []
    for row in rows:
        begun = moment(row.created_at)
        age_s = max((now - begun).total_seconds(), 0.0)
        kinds = (counts[row.uuid, str(s)] for s in (RecordStatus.CREATING, RecordStatus.DESTROYING))
        name = row.name or f"{row.cell_id}, deleted"
        found.append(OpenLease(row.uuid, row.cell_id, name, begun, age_s, *kinds))
    return found


def _record(row: Row[Any]) -> Record:
    spec = RecordSpec(
        row.bucket,
        row.value if row.spelling is None else row.spelling,
        row.subject_type,
        row.subject_id,
        row.source_type,
        bytes(row.source_id or b""),
        bytes(row.user_data or b""),
    )
    return Record(
        row.uuid,
        spec,
        row.cell_id,
        RecordStatus(row.status),
        row.lease,
        moment(row.created_at),
        moment(row.updated_at),
    )
