"""Which claims a move takes, and which of them it has.

A move says what it takes: the claims of a subject, a list of claims, or some of a cell's. Which
claims these are is written down when it is planned, and again when it freezes them, because cells
make and destroy claims meanwhile. No claim is in two moves that have not ended: that is the primary
key of ``move_claims``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, delete, insert, or_, select, tuple_

from control_plane.topology.claims.move import MAX_MOVED, Subject
from control_plane.topology.storage import Transaction, chunked, schema
from control_plane.topology.values import ClaimKey, Locked, NotFound, Refused

_C, _M = schema.claims, schema.move_claims
_COLUMNS: tuple[ColumnElement[Any], ...] = (
    *(_C.c.bucket, _C.c.value, _C.c.lease, _C.c.hold),
    *(_C.c.subject, _C.c.subject_type, _C.c.subject_id),
)


def select_claims(tx: Transaction, selection: Mapping[str, Any], cell_id: int) -> list[ClaimKey]:
    """Return the claims of a cell that a selection takes.

    Raises:
        NotFound: the cell has none of them.
        Refused: there are more than `MAX_MOVED`; or the cell does not own one of the list.
        Locked: a lease holds some of them.
    """
    rows = _rows(tx, selection, cell_id)
    if not rows:
        raise NotFound("claim for", f"{_words(selection)} in the source")
    if len(rows) > MAX_MOVED:
        raise Refused(f"moving {_words(selection)}", f"it has more than {MAX_MOVED} claims")
    check_unlocked(rows)
    return [ClaimKey(row.bucket, row.value) for row in rows]


def _rows(tx: Transaction, selection: Mapping[str, Any], cell_id: int) -> Sequence[Row[Any]]:
    of_cell = select(*_COLUMNS).where(_C.c.cell_id == cell_id)
    if "subject" in selection:
        subject = Subject(**selection["subject"])
        query = of_cell.where(_subject_is(subject))
        return tx.connection.execute(query.limit(MAX_MOVED + 1)).all()
    if "claims" in selection:
        return _listed(tx, of_cell, [ClaimKey(*pair) for pair in selection["claims"]])
    return _batch(tx, of_cell, selection["cell"])


def _listed(tx: Transaction, of_cell: Select[Any], keys: Sequence[ClaimKey]) -> list[Row[Any]]:
    rows: list[Row[Any]] = []
    for chunk in chunked(keys):
        rows += tx.connection.execute(of_cell.where(_in(chunk))).all()
    found = {(row.bucket, row.value) for row in rows}
    missing = [str(key) for key in keys if key not in found]
    if missing:
        raise Refused(f"moving {missing[0]}", f"the source does not own it ({len(missing)} in all)")
    return rows


def _batch(tx: Transaction, of_cell: Select[Any], size: int) -> list[Row[Any]]:
    """Return the first claims of a cell that no move has, with all others of their subjects."""
    in_moves = select(_M.c.bucket).where(_M.c.bucket == _C.c.bucket, _M.c.value == _C.c.value)
    free = of_cell.where(~in_moves.exists())
    rows = tx.connection.execute(free.order_by(_C.c.bucket, _C.c.value).limit(size)).all()
    found = {(row.bucket, row.value): row for row in rows}
    subjects = {Subject(0, 0, row.subject) for row in rows if row.subject is not None}
    subjects |= {Subject(row.subject_type, row.subject_id) for row in rows if row.subject_id > 0}
    for chunk in chunked(sorted(subjects, key=str)):
        query = of_cell.where(or_(*map(_subject_is, chunk))).limit(MAX_MOVED + 1)
        found |= {(row.bucket, row.value): row for row in tx.connection.execute(query)}
    return list(found.values())


def _subject_is(subject: Subject) -> ColumnElement[bool]:
    if subject.text is not None:
        return _C.c.subject == subject.text
    # The partial index holds only rows with a subject.
    return and_(
        _C.c.subject_id == subject.id, _C.c.subject_type == subject.type, _C.c.subject_id > 0
    )


def _in(keys: Sequence[ClaimKey]) -> ColumnElement[bool]:
    return tuple_(_C.c.bucket, _C.c.value).in_(keys)


def _words(selection: Mapping[str, Any]) -> str:
    if "subject" in selection:
        return str(Subject(**selection["subject"]))
    return "the list" if "claims" in selection else "the cell"


def remember(tx: Transaction, number: int, keys: Sequence[ClaimKey]) -> None:
    """Write down which claims a move has, in place of those that it had.

    Raises:
        Refused: another move that has not ended has one of them.
    """
    forget(tx, number)
    for chunk in chunked(keys):
        taken = select(_M).where(tuple_(_M.c.bucket, _M.c.value).in_(chunk)).limit(1)
        row = tx.connection.execute(taken).one_or_none()
        if row is not None:
            why = f"move {row.move_id} has it already"
            raise Refused(f"moving {row.bucket}:{row.value}", why)
        values = [{"bucket": key.bucket, "value": key.value, "move_id": number} for key in chunk]
        tx.connection.execute(insert(_M), values)


def forget(tx: Transaction, number: int) -> None:
    """Let the claims of a move that has ended go to other moves; others' stay theirs."""
    tx.connection.execute(delete(_M).where(_M.c.move_id == number))


def remembered(tx: Transaction, number: int) -> list[ClaimKey]:
    """Return the claims that a move has."""
    query = select(_M.c.bucket, _M.c.value).where(_M.c.move_id == number)
    return [ClaimKey(row.bucket, row.value) for row in tx.connection.execute(query)]


def owned_by(tx: Transaction, keys: Sequence[ClaimKey], cell_id: int) -> list[ClaimKey]:
    """Return those of some claims that a cell owns.

    Raises:
        Locked: a lease holds some of these.
    """
    rows: list[Row[Any]] = []
    for chunk in chunked(keys):
        query = select(*_COLUMNS).where(_C.c.cell_id == cell_id, _in(chunk))
        rows += tx.connection.execute(query).all()
    check_unlocked(rows)
    return [ClaimKey(row.bucket, row.value) for row in rows]


def check_unlocked(rows: Iterable[Row[Any]]) -> None:
    """Raise `Locked` if leases hold some of the rows' claims."""
    locked = tuple((f"{row.bucket}:{row.value}", row.lease) for row in rows if row.lease)
    if locked:
        raise Locked(locked)
