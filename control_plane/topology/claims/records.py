"""Records: claims as the claims protocol sees them. Cells read them to reconcile their own."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Row, Select, literal_column, select

from control_plane.names import MAX_PAGE
from control_plane.topology.storage import Store, moment, schema
from control_plane.topology.values import (
    Invalid,
    NotFound,
    Problem,
    Record,
    RecordSpec,
    RecordStatus,
    normalise,
)

_C = schema.claims


class Records:
    """Reads records, which tell more of a claim than its owner: source, lease and status."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, bucket: str, value: str) -> Record:
        """Return one record; raise `NotFound`, or `Invalid` for a malformed key."""
        normal = normalise(bucket, value)
        query = select(_C).where(_C.c.bucket == bucket, _C.c.value == normal)
        with self._store.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound("claim", f"{bucket}:{normal}")
        return _record(row)

    def page(
        self,
        cell_id: int,
        *,
        source_type: int,
        buckets: Collection[str] = (),
        after: bytes = b"",
        upto: bytes | None = None,
        limit: int = MAX_PAGE,
    ) -> tuple[list[Record], bool]:
        """Return a cell's records of one source type, ordered by source id.

        All records of one source id come in one page, so that the last record's source id is the
        cursor of the next page. A page may therefore be shorter than ``limit``, or longer if one
        source id has more records.

        Args:
            cell_id: the cell.
            source_type: a number of claims.v1.Source.Type, above 0.
            buckets: only records in these buckets; empty for all.
            after: only source ids above this one.
            upto: only source ids up to this one; None for all.
            limit: 1 to 1,000.

        Returns:
            The records, and whether more follow.
        """
        if source_type <= 0:
            raise Invalid(Problem("source_type", "is missing", "name one table"))
        query = _of_source(cell_id, source_type, after)
        if upto is not None:
            query = query.where(_C.c.source_id <= upto)
        if buckets:
            query = query.where(_C.c.bucket.in_(sorted(buckets)))
        limit = min(max(limit, 1), MAX_PAGE)
        with self._store.read() as connection:
            rows = connection.execute(query.limit(limit + 1)).all()
            if len(rows) <= limit:
                return [_record(row) for row in rows], False
            last_id = rows[-1].source_id
            rows_before = [row for row in rows if row.source_id != last_id]
            if rows_before:
                return [_record(row) for row in rows_before], True
            all_of_id = connection.execute(query.where(_C.c.source_id == last_id)).all()
            next_id = connection.execute(query.where(_C.c.source_id > last_id).limit(1)).first()
        return [_record(row) for row in all_of_id], next_id is not None


def _of_source(cell_id: int, source_type: int, after: bytes) -> Select[Any]:
    return (
        select(_C)
        .where(_C.c.cell_id == cell_id, _C.c.source_type == source_type)
        .where(_C.c.source_id > after)
        # The partial index holds only rows with a source: an engine sees that the query needs no
        # others from a literal, not from a parameter.
        .where(_C.c.source_type > literal_column("0"))
        .order_by(_C.c.source_id, _C.c.bucket, _C.c.value)
    )


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
