"""Moves a subject's claims from one cell to another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select, tuple_, update

from control_plane.topology.cells import get_cell
from control_plane.topology.claims import epochs
from control_plane.topology.claims.texts import check_reason
from control_plane.topology.storage import Store, Transaction, chunked, schema
from control_plane.topology.values import (
    ClaimKey,
    Invalid,
    Locked,
    NotFound,
    Problem,
    Refused,
    Written,
    is_storable,
)

MAX_MOVED = 100_000
"""Claims that one move may have, because it is one transaction."""
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
            hint = "give a type and an id from 1 on, or the text"
            raise Invalid(Problem("subject", "names no subject", hint))
        if self.text is not None and not is_storable(self.text):
            hint = "leave it out"
            raise Invalid(Problem("subject", f"{self.text!r} has a NUL or a lone surrogate", hint))

    def __str__(self) -> str:
        return self.text if self.text is not None else f"{self.type}:{self.id}"


class Moves:
    """Moves claims between cells."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def move(
        self,
        subject: Subject,
        source: str,
        target: str,
        *,
        reason: str,
        actor: str,
        dry_run: bool = False,
    ) -> Written[int]:
        """Move all claims of a subject from one cell to another in one step; return how many.

        Raises:
            Invalid: a malformed subject, or the reason is missing or too long.
            NotFound: there is no such cell, or the source has no claim of the subject.
            Refused: the target takes no new tenants or is the same, or there are more than
                `MAX_MOVED`.
            Locked: a lease holds some of the claims.
        """
        subject.check()
        check_reason(reason)
        return self._store.written(
            actor, lambda tx: _move(tx, subject, source, target, reason), dry_run=dry_run
        )


def _move(tx: Transaction, subject: Subject, source: str, target: str, reason: str) -> int:
    old, new = get_cell(tx.connection, source), get_cell(tx.connection, target)
    what = f"moving {subject} from {source} to {target}"
    if old.id == new.id:
        raise Refused(what, "it is the same cell")
    if not new.state.takes_new:
        raise Refused(what, f"{target} is {new.state}, and takes no new tenants")
    rows = tx.connection.execute(_of_subject(subject, old.id).limit(MAX_MOVED + 1)).all()
    if not rows:
        raise NotFound("claim of", f"{subject} in {source}")
    if len(rows) > MAX_MOVED:
        raise Refused(what, f"it has more than {MAX_MOVED} claims")
    locked = tuple((f"{row.bucket}:{row.value}", row.lease) for row in rows if row.lease)
    if locked:
        raise Locked(locked)
    held = next((row.hold for row in rows if row.hold is not None), None)
    if held is not None:
        raise Refused(what, f"move {-held} holds some of its claims")
    keys = [ClaimKey(row.bucket, row.value) for row in rows]
    values = {"cell_id": new.id, "revision": tx.revision, "updated_at": tx.at}
    for chunk in chunked(keys):
        where = tuple_(_C.c.bucket, _C.c.value).in_(chunk)
        tx.connection.execute(update(_C).where(where).values(values))
    epochs.moved(tx, keys)
    for key in keys:
        before = {"cell_id": old.id, "cell": source}
        after = {"cell_id": new.id, "cell": target, "reason": reason}
        tx.log("claim", "move", str(key), before, after)
    return len(keys)


def _of_subject(subject: Subject, cell_id: int) -> Select[Any]:
    query = select(_C.c.bucket, _C.c.value, _C.c.lease, _C.c.hold).where(_C.c.cell_id == cell_id)
    if subject.text is not None:
        return query.where(_C.c.subject == subject.text)
    # The partial index holds only rows with a subject.
    return query.where(
        _C.c.subject_id == subject.id, _C.c.subject_type == subject.type, _C.c.subject_id > 0
    )
