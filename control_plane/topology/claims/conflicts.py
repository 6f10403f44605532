"""Why a begin could not have all that it names: told only once it has failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from sqlalchemy import select

from control_plane.topology.claims.update import Update
from control_plane.topology.storage import schema
from control_plane.topology.storage.statements import Statement, chunked, in_keys, moment
from control_plane.topology.storage.transaction import Transaction
from control_plane.topology.values.change import Written
from control_plane.topology.values.claim import Lease
from control_plane.topology.values.errors import (
    AlreadyExists,
    Invalid,
    LeaseSettled,
    Locked,
    NotFound,
    Problem,
    Refused,
)


def explain_unopened(
    tx: Transaction, cell_id: int, key: str | None, fingerprint: str | None
) -> Written[Lease]:
    """Return the lease that an earlier begin under the same key opened; nothing is written.

    Raises:
        Invalid: the key was used for another update.
        NotFound: there is no such cell.
        Refused: the cell is retired.
    """
    leases, cells = schema.leases.c, schema.cells.c
    tx.abandoned = True
    if key is not None:
        query = select(schema.leases).where(
            leases.cell_id == cell_id, leases.idempotency_key == key
        )
        row = tx.connection.execute(query).one_or_none()
        if row is not None and row.fingerprint != fingerprint:
            mend = "use a new key for a new batch"
            raise Invalid(Problem("idempotency-key", "was used for another batch", mend))
        if row is not None:
            lease = Lease(row.uuid, cell_id, moment(row.created_at), moment(row.updated_at))
            return Written(lease, row.revision, ())
    name = tx.connection.execute(select(cells.name).where(cells.id == cell_id)).scalar()
    if name is None:
        raise NotFound("cell", str(cell_id))
    raise Refused(f"an update of {name}", "it is retired")


def explain_settled(tx: Transaction, cell_id: int, lease: str, outcome: str) -> int:
    """Return the revision at which a lease was settled so before; nothing is written.

    Raises:
        NotFound: the cell has no such lease.
        LeaseSettled: it was settled the other way.
    """
    tx.abandoned = True
    columns = schema.leases.c
    query = select(columns.state, columns.revision).where(
        columns.uuid == lease, columns.cell_id == cell_id
    )
    row = tx.connection.execute(query).one_or_none()
    if row is None:
        raise NotFound("lease", lease)
    if row.state != outcome:
        raise LeaseSettled(lease, row.state)
    return int(row.revision)


def explain(tx: Transaction, update: Update, lease: str, cell_id: int) -> NoReturn:
    """Raise why not all of a batch could be locked; what stays so goes before what may pass.

    Raises:
        NotFound: a destroyed claim doesn't exist.
        Refused: another cell owns one.
        AlreadyExists: wanted values are taken; lists all of them.
        Locked: another lease holds some; lists all of them.
    """
    held = _held_destroys(tx, update, lease, cell_id) + _held_creates(tx, update, lease)
    raise Locked(tuple(held))


def _held_destroys(
    tx: Transaction, update: Update, lease: str, cell_id: int
) -> list[tuple[str, str]]:
    """The destroyed claims that other leases hold; raises where there is no such claim of ours."""
    others = _others(tx, update.destroys, lease)
    held_by_us = {
        (row[0], row[1])
        for row in tx.execute(
            [Statement("SELECT bucket, value FROM claims WHERE lease = ?", (lease,))]
        )[0].rows
    }
    for key in update.destroys:
        name = f"{key[0]}:{key[1]}"
        if key not in others and key not in held_by_us:
            raise NotFound("claim", name)
        if key in others and others[key][0] != cell_id:
            raise Refused(f"destroying {name}", f"{others[key][3]} owns it")
    return [(f"{b}:{v}", row[2]) for (b, v), row in others.items() if row[2]]


def _held_creates(tx: Transaction, update: Update, lease: str) -> list[tuple[str, str]]:
    """The wanted values that other leases are freeing; raises where some are taken."""
    keys = [(spec.bucket, spec.value) for spec in update.creates]
    others = _others(tx, keys, lease)
    # What is being destroyed may soon be free; all else stays taken, for all that is known.
    going = {key: row for key, row in others.items() if row[1] == "destroying"}
    for key in _replaced(tx, list(going)):
        del going[key]
    taken = [(f"{b}:{v}", row[3]) for (b, v), row in others.items() if (b, v) not in going]
    if taken:
        raise AlreadyExists("claim", tuple(sorted(taken)))
    return [(f"{b}:{v}", row[2]) for (b, v), row in going.items()]


def _replaced(tx: Transaction, keys: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those that are destroyed only to be created anew: their owner keeps them, whatever comes."""
    found: set[tuple[str, str]] = set()
    for chunk in chunked(keys):
        wanted = in_keys(chunk)
        sql = f"SELECT bucket, value FROM replacements WHERE {wanted.sql}"  # noqa: S608 - no text from outside
        found |= {(row[0], row[1]) for row in tx.execute([Statement(sql, wanted.params)])[0].rows}
    return found


def _others(
    tx: Transaction, keys: Sequence[tuple[str, str]], lease: str
) -> dict[tuple[str, str], Any]:
    """The claims of these keys that this lease doesn't hold."""
    found: dict[tuple[str, str], Any] = {}
    for chunk in chunked(keys):
        wanted = in_keys(chunk)
        sql = (
            "SELECT c.bucket, c.value, c.cell_id, c.status, c.lease, o.name FROM claims c"  # noqa: S608 - no text from outside
            f" JOIN cells o ON o.id = c.cell_id WHERE {wanted.sql}"
            " AND (c.lease IS NULL OR c.lease <> ?)"
        )
        for row in tx.execute([Statement(sql, (*wanted.params, lease))])[0].rows:
            found[row[0], row[1]] = row[2:]
    return found
