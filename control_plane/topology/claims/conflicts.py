"""Explains why a begin or a settlement has failed. It is called only then.

The statements of a begin only count the claims that they changed, so that success costs one round
trip. If some are missing, these functions read which ones, and raise the error that lists them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from sqlalchemy import select

from control_plane.topology.claims.update import Update
from control_plane.topology.storage import (
    Statement,
    Transaction,
    chunked,
    in_keys,
    moment,
    schema,
)
from control_plane.topology.values import (
    AlreadyExists,
    ClaimKey,
    Invalid,
    Lease,
    LeaseSettled,
    Locked,
    NotFound,
    Problem,
    Refused,
    Written,
)


def explain_unopened(
    tx: Transaction, cell_id: int, key: str | None, fingerprint: str | None
) -> Written[Lease]:
    """Return the lease that an earlier begin under the same key opened; write nothing.

    Raises:
        Invalid: the key was used for another update.
        NotFound: there is no such cell.
        Refused: the cell is drained or retired.
    """
    tx.abandoned = True
    if key is not None:
        leases = schema.leases.c
        query = select(schema.leases).where(
            leases.cell_id == cell_id, leases.idempotency_key == key
        )
        row = tx.connection.execute(query).one_or_none()
        if row is not None and row.fingerprint != fingerprint:
            hint = "use a new key for a new update"
            raise Invalid(Problem("idempotency-key", "was used for another update", hint))
        if row is not None:
            lease = Lease(row.uuid, cell_id, moment(row.created_at), moment(row.updated_at))
            return Written(lease, row.revision, ())
    cells = schema.cells.c
    query = select(cells.name, cells.state).where(cells.id == cell_id)
    cell = tx.connection.execute(query).one_or_none()
    if cell is None:
        raise NotFound("cell", str(cell_id))
    raise Refused(f"an update of {cell.name}", f"it is {cell.state}, and may own no claims")


def explain_missing(tx: Transaction, update: Update, lease: str, cell_id: int) -> NoReturn:
    """Raise the error that says why a begin could not get all claims: a final reason first.

    Raises:
        NotFound: a destroyed claim doesn't exist.
        Refused: another cell owns a destroyed claim.
        AlreadyExists: wanted values are taken; lists all of them.
        Locked: other leases hold claims, which may get free; lists all of them.
    """
    locked = _locked_destroys(tx, update, lease, cell_id) + _locked_creates(tx, update, lease)
    raise Locked(tuple(locked))


def explain_settled(tx: Transaction, cell_id: int, lease: str, outcome: str) -> int:
    """Return the revision at which the lease was settled in this way before; write nothing.

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


class _Claim(NamedTuple):
    """A claim that the failed begin's lease does not hold; ``lease`` is another one."""

    cell_id: int
    status: str
    lease: str | None
    owner: str


def _locked_destroys(
    tx: Transaction, update: Update, lease: str, cell_id: int
) -> list[tuple[str, str]]:
    """Return key and lease of the destroyed claims that other leases hold.

    Raises:
        NotFound: a destroyed claim doesn't exist.
        Refused: another cell owns it.
    """
    others = _others(tx, update.destroys, lease)
    query = Statement("SELECT bucket, value FROM claims WHERE lease = ?", (lease,))
    ours = {ClaimKey(*row) for row in tx.execute([query])[0].rows}
    for key in update.destroys:
        if key not in others and key not in ours:
            raise NotFound("claim", str(key))
        if key in others and others[key].cell_id != cell_id:
            raise Refused(f"destroying {key}", f"{others[key].owner} owns it")
    return [(str(key), claim.lease) for key, claim in others.items() if claim.lease]


def _locked_creates(tx: Transaction, update: Update, lease: str) -> list[tuple[str, str]]:
    """Return key and lease of the wanted values that other leases are destroying.

    Raises:
        AlreadyExists: values are taken otherwise: also by a pending create, which may be rolled
            back, and by a replacement, whose cell keeps the value whatever its outcome.
    """
    others = _others(tx, [ClaimKey(spec.bucket, spec.value) for spec in update.creates], lease)
    destroyed = [key for key, claim in others.items() if claim.status == "destroying"]
    freed = set(destroyed) - _replaced(tx, destroyed)
    taken = [(str(key), claim.owner) for key, claim in others.items() if key not in freed]
    if taken:
        raise AlreadyExists("claim", tuple(sorted(taken)))
    return [(str(key), claim.lease) for key, claim in others.items() if claim.lease]


def _replaced(tx: Transaction, keys: Sequence[ClaimKey]) -> set[ClaimKey]:
    """Return the keys that are destroyed only to be created anew."""
    replaced: set[ClaimKey] = set()
    for chunk in chunked(keys):
        condition = in_keys(chunk)
        sql = f"SELECT bucket, value FROM replacements WHERE {condition.sql}"  # noqa: S608 - no text from outside
        rows = tx.execute([Statement(sql, condition.params)])[0].rows
        replaced |= {ClaimKey(*row) for row in rows}
    return replaced


def _others(tx: Transaction, keys: Sequence[ClaimKey], lease: str) -> dict[ClaimKey, _Claim]:
    """Return those of the claims that this lease doesn't hold."""
    others: dict[ClaimKey, _Claim] = {}
    for chunk in chunked(keys):
        condition = in_keys(chunk)
        sql = (
            "SELECT c.bucket, c.value, c.cell_id, c.status, c.lease, o.name FROM claims c"  # noqa: S608 - no text from outside
            f" JOIN cells o ON o.id = c.cell_id WHERE {condition.sql}"
            " AND (c.lease IS NULL OR c.lease <> ?)"
        )
        for row in tx.execute([Statement(sql, (*condition.params, lease))])[0].rows:
            others[ClaimKey(row[0], row[1])] = _Claim(*row[2:])
    return others
