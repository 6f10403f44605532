"""Stored claims whose key is not the normal form of its value any more.

A version that normalises otherwise than the one before it finds claims under keys that nobody
looks up. For example, ``email:x1@globex.example.`` was stored for an address that ended in U+3002;
today that address is ``email:x1@globex.example``, and perhaps another cell owns that key::

    stored                                 today
    email:x1@globex.example.   cell-2      email:x1@globex.example   clash: cell-1 owns it
    host:acme.example:443      cell-1      host:acme.example         free: it is rewritten
    host:a..b                  cell-1      none                      it can't be claimed any more

Nothing is deleted here. `respell` rewrites what is free; `stale_claims` finds the
rest for a report. A control plane of the version before may store more of them while it still runs.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, select, update

from control_plane.topology.storage import schema
from control_plane.topology.storage.dialect import dialect_of
from control_plane.topology.storage.transaction import Transaction, take_revision
from control_plane.topology.values import normalised_or_none

_C = schema.claims.c
_ROWS_AT_ONCE = 5000


@dataclass(frozen=True, slots=True)
class StaleClaim:
    """A claim that no look-up finds, because its value is not normalised."""

    bucket: str
    value: str
    """The value as it is stored."""
    cell: str
    """The owner's name."""
    spelling: str | None
    """The value as it was sent, if that is another than ``value``."""
    normal: str | None
    """The value as it is looked up today; None if it can't be claimed any more."""
    others: tuple[tuple[str, str], ...] = ()
    """Stored value and owner of each other claim whose value is ``normal`` today."""

    @property
    def free(self) -> bool:
        """Whether the claim can be stored under its normal value."""
        return self.normal is not None and not self.others

    def as_dict(self) -> dict[str, Any]:
        """Return the claim in plain JSON types."""
        others = [{"value": value, "cell": cell} for value, cell in self.others]
        own = {"bucket": self.bucket, "value": self.value, "cell": self.cell}
        return {**own, "normal": self.normal, "others": others}


def stale_claims(connection: Connection) -> list[StaleClaim]:
    """Read all claims, and return those that no look-up finds, in the order of their keys."""
    names = schema.cells.c
    query = select(_C.bucket, _C.value, names.name, _C.spelling)
    query = query.join(schema.cells, names.id == _C.cell_id)
    stale: list[StaleClaim] = []
    for row in connection.execute(query.execution_options(yield_per=_ROWS_AT_ONCE)):
        normal = normalised_or_none(row.bucket, row.value)
        if normal != row.value:
            stale.append(StaleClaim(*row, normal))
    stale.sort(key=lambda one: (one.bucket, one.value))
    claimants: dict[tuple[str, str | None], list[tuple[str, str]]] = defaultdict(list)
    for one in stale:
        claimants[one.bucket, one.normal].append((one.value, one.cell))
    for key, same in claimants.items():
        # A claim that is stored under the normal value is the one that look-ups find.
        found = query.where(_C.bucket == key[0], _C.value == key[1])
        same[:0] = [(row.value, row.name) for row in connection.execute(found)]
    return [_with_others(one, claimants[one.bucket, one.normal]) for one in stale]


def _with_others(claim: StaleClaim, same: list[tuple[str, str]]) -> StaleClaim:
    if claim.normal is None:
        return claim
    return replace(claim, others=tuple(one for one in same if one[0] != claim.value))


def respell(connection: Connection, actor: str) -> None:
    """Store each stale claim under its normal value where that is free; leave the others.

    The cell still reads the value as it sent it. In the change feed the claim is deleted and
    created, under one revision for all of them.
    """
    if not any(claim.free for claim in stale_claims(connection)):
        return
    # Only now do writers wait; the claims may have changed since they were read.
    revision, at = dialect_of(connection).lock_revision(connection)
    tx = Transaction(connection, revision + 1, actor, at)
    for claim in stale_claims(connection):
        if claim.free:
            _respell_one(tx, claim)
    if tx.changes:
        take_revision(tx)


def _respell_one(tx: Transaction, claim: StaleClaim) -> None:
    sent = claim.spelling or claim.value
    spelling = None if sent == claim.normal else sent
    new = {"value": claim.normal, "spelling": spelling}
    at_key = (_C.bucket == claim.bucket, _C.value == claim.value)
    tx.connection.execute(
        update(schema.claims).where(*at_key).values(**new, revision=tx.revision, updated_at=tx.at)
    )
    # What a lease puts in the claim's place has the same key, and a spelling of its own.
    pending = schema.replacements
    tx.connection.execute(
        update(pending)
        .where(pending.c.bucket == claim.bucket, pending.c.value == claim.value)
        .values(value=claim.normal)
    )
    before = {"bucket": claim.bucket, "value": claim.value, "cell": claim.cell}
    after = {**before, **new}
    tx.log("claim", "delete", f"{claim.bucket}:{claim.value}", before, None)
    tx.log("claim", "create", f"{claim.bucket}:{claim.normal}", None, after)
