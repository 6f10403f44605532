"""What operators do where no cell can: move a subject's claims, empty a retired cell, audit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, delete, func, select, tuple_, update

from control_plane.names import MAX_REASON_CHARS
from control_plane.topology import changes as feed
from control_plane.topology.claims import epochs
from control_plane.topology.storage import schema
from control_plane.topology.storage.statements import chunked
from control_plane.topology.storage.transaction import Transaction
from control_plane.topology.values.cell import CellState
from control_plane.topology.values.change import Change
from control_plane.topology.values.claim_key import can_be_kept, normalise
from control_plane.topology.values.errors import Invalid, Locked, NotFound, Problem, Refused

MAX_TRANSFER = 100_000
"""Claims that one transfer moves at most: it is one transaction."""
RELEASE_BATCH = 1000
"""Claims that each transaction frees when a retired cell is emptied."""
_C = schema.claims


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose claims: a number of claims.v1.Subject.Type and an id, or the text of a plain claim."""

    type: int = 0
    id: int = 0
    text: str | None = None

    def check(self) -> None:
        """Raise `Invalid` unless it names one subject."""
        if (self.text is None) == (self.id <= 0):
            mend = "give a type and an id from 1 on, or the text"
            raise Invalid(Problem("subject", "names no subject", mend))
        if self.text is not None and not can_be_kept(self.text):
            mend = "leave it out"
            raise Invalid(Problem("subject", f"{self.text!r} has a NUL or a lone surrogate", mend))

    def __str__(self) -> str:
        return self.text if self.text is not None else f"{self.type}:{self.id}"


def check_reason(reason: str) -> None:
    """Raise `Invalid` unless a reason is given that can be kept."""
    if not 1 <= len(reason.strip()) <= MAX_REASON_CHARS:
        mend = f"say why, in 1 to {MAX_REASON_CHARS} characters: it stays in the audit"
        raise Invalid(Problem("reason", "is missing or too long", mend))


def transfer(tx: Transaction, subject: Subject, source: str, target: str, reason: str) -> int:
    """Move every claim of a subject from one cell to another; the number of claims.

    Raises:
        NotFound: no such cell, or the source has no claim of the subject.
        Refused: the target is retired or the same, or there are more than `MAX_TRANSFER`.
        Locked: a lease holds some of the claims.
    """
    subject.check()
    check_reason(reason)
    old, _ = _cell(tx.connection, source)
    new, state = _cell(tx.connection, target)
    what = f"moving {subject} from {source} to {target}"
    if old == new:
        raise Refused(what, "it is the same cell")
    if state == CellState.RETIRED:
        raise Refused(what, f"{target} is retired")
    rows = tx.connection.execute(_of_subject(subject, old).limit(MAX_TRANSFER + 1)).all()
    if not rows:
        raise NotFound("claim of", f"{subject} in {source}")
    if len(rows) > MAX_TRANSFER:
        raise Refused(what, f"it has more than {MAX_TRANSFER} claims")
    held = tuple((f"{row.bucket}:{row.value}", row.lease) for row in rows if row.lease)
    if held:
        raise Locked(held)
    values = {"cell_id": new, "revision": tx.revision, "updated_at": tx.at}
    for chunk in chunked([(row.bucket, row.value) for row in rows]):
        keys = tuple_(_C.c.bucket, _C.c.value).in_(chunk)
        tx.connection.execute(update(_C).where(keys).values(values))
    epochs.moved(tx, [(row.bucket, row.value) for row in rows])
    for row in rows:
        before = {"cell_id": old, "cell": source}
        after = {"cell_id": new, "cell": target, "reason": reason}
        tx.log("claim", "move", f"{row.bucket}:{row.value}", before, after)
    return len(rows)


def release_some(tx: Transaction, cell: str, reason: str) -> int:
    """Free up to `RELEASE_BATCH` claims of a retired cell; how many, so 0 when none is left.

    Raises:
        NotFound: no such cell.
        Refused: the cell is not retired, or has open leases.
    """
    check_reason(reason)
    cell_id, state = _cell(tx.connection, cell)
    what = f"releasing all claims of {cell}"
    if state != CellState.RETIRED:
        raise Refused(what, f"it is {state}; retire it first")
    leases = schema.leases.c
    is_open = select(leases.uuid).where(leases.cell_id == cell_id, leases.settled_at.is_(None))
    if tx.connection.execute(is_open.limit(1)).first():
        raise Refused(what, "it has open leases; settle them first")
    query = select(_C.c.bucket, _C.c.value, _C.c.uuid, _C.c.spelling).where(_C.c.cell_id == cell_id)
    rows = tx.connection.execute(query.order_by(_C.c.bucket, _C.c.value).limit(RELEASE_BATCH)).all()
    for chunk in chunked([(row.bucket, row.value) for row in rows]):
        tx.connection.execute(delete(_C).where(tuple_(_C.c.bucket, _C.c.value).in_(chunk)))
    epochs.freed(tx, [(row.bucket, row.value, cell_id) for row in rows])
    for row in rows:
        before = {"cell_id": cell_id, "cell": cell, "uuid": row.uuid}
        if row.spelling is not None:
            before["spelling"] = row.spelling
        key = f"{row.bucket}:{row.value}"
        tx.log("claim", "delete", key, before, {"reason": reason})
    return len(rows)


def count_claims(connection: Connection, cell_id: int) -> int:
    """The number of a cell's claims."""
    query = select(func.count()).select_from(_C).where(_C.c.cell_id == cell_id)
    return int(connection.execute(query).scalar_one())


def audit(
    connection: Connection, bucket: str, value: str, limit: int, before: int | None = None
) -> list[Change]:
    """What happened to a claim, oldest first, with the outcome of each lease that touched it."""
    key = f"{bucket}:{normalise(bucket, value)}"
    changes = feed.of_keys(connection, [key], limit, before)
    told = [side for change in changes for side in (change.before, change.after) if side]
    leases = {side["lease"] for side in told if "lease" in side}
    changes += feed.of_keys(connection, sorted(leases), 2 * limit)
    # A lease's entry stands first in its revision.
    return sorted(changes, key=lambda change: (change.revision, change.kind != "lease"))


def _cell(connection: Connection, name: str) -> tuple[int, str]:
    cells = schema.cells.c
    if not can_be_kept(name):
        raise NotFound("cell", name)
    row = connection.execute(select(cells.id, cells.state).where(cells.name == name)).one_or_none()
    if row is None:
        raise NotFound("cell", name)
    return row.id, row.state


def _of_subject(subject: Subject, cell_id: int) -> Select[Any]:
    query = select(_C.c.bucket, _C.c.value, _C.c.lease).where(_C.c.cell_id == cell_id)
    if subject.text is not None:
        return query.where(_C.c.subject == subject.text)
    # The partial index holds rows with a subject only.
    return query.where(
        _C.c.subject_id == subject.id, _C.c.subject_type == subject.type, _C.c.subject_id > 0
    )
