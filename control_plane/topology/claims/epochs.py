"""Epochs: for each shard of the claims' keyspace, the revision at which an owner last changed.

Edges and classifiers cache who owns a claim. To void single answers, each change of an owner
would have to reach every cache by its key. Instead the keyspace is cut into 256 shards, and each
shard has an epoch: a change raises the epoch of its claim's shard to its own revision, and a
cached answer counts only if its revision is not older than its shard's epoch. For example,
``route:acme`` (in shard 17) moves at revision 900::

    epochs before {17: 350, 40: 20}    after {17: 900, 40: 20}
    an answer of revision 620 about shard 17 is void, one about shard 40 counts

An owner changes when a claim moves, and when a freed name is claimed by another cell than its
last owner: so a freed name leaves a tombstone with that owner for a while. A new name and a
release raise no epoch: caches bound how long they keep the answers that these make untrue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from sqlalchemy import Connection, select

from control_plane.topology.storage import (
    Statement,
    Transaction,
    chunked,
    for_rows,
    in_keys,
    schema,
    stored,
)
from control_plane.topology.values import SHARDS, ClaimKey

TOMBSTONES_KEPT = timedelta(hours=48)
"""How long a tombstone is kept: far longer than any cache keeps an answer."""
_PRUNE_EVERY = 16
_PRUNE_AT_ONCE = 2 * _PRUNE_EVERY * 1000
_RAISE_BEGUN = """
INSERT INTO epochs (shard, revision)
SELECT DISTINCT t.shard, r.revision
FROM claims c
JOIN tombstones t ON t.bucket = c.bucket AND t.value = c.value AND t.cell_id <> c.cell_id
CROSS JOIN revisions r
WHERE c.lease = ? AND c.status = 'creating'
ON CONFLICT (shard) DO UPDATE SET revision = excluded.revision"""
_UNBURY_BEGUN = """
DELETE FROM tombstones WHERE EXISTS (SELECT 1 FROM tombstones) AND (bucket, value) IN
    (SELECT bucket, value FROM claims WHERE lease = ? AND status = 'creating')"""


def _raise_epochs(rows: str) -> str:
    return f"""
INSERT INTO epochs (shard, revision) VALUES {rows}
ON CONFLICT (shard) DO UPDATE SET revision = excluded.revision"""  # noqa: S608 - no text from outside


def _bury(rows: str) -> str:
    return f"""
INSERT INTO tombstones (bucket, value, cell_id, shard, freed_at) VALUES {rows}
ON CONFLICT (bucket, value)
DO UPDATE SET cell_id = excluded.cell_id, freed_at = excluded.freed_at"""  # noqa: S608 - no text from outside


def all_epochs(connection: Connection) -> dict[int, int]:
    """Return the epoch of each shard; without shards in which no owner ever changed."""
    table = schema.epochs.c
    return {
        row.shard: row.revision for row in connection.execute(select(table.shard, table.revision))
    }


def moved(tx: Transaction, keys: Iterable[ClaimKey]) -> None:
    """Raise the epochs of claims whose owner this transaction changes."""
    _raise(tx, {key.shard for key in keys})


def restored(tx: Transaction) -> None:
    """Raise all epochs, because a restore may have changed any owner."""
    _raise(tx, range(SHARDS))


def freed(tx: Transaction, owners: Sequence[tuple[str, str, int]]) -> None:
    """Leave tombstones for claims that this transaction frees.

    Args:
        tx: the transaction.
        owners: bucket, normalised value and the cell's id of each claim.
    """
    at = stored(tx.connection, tx.at)
    rows = [
        (bucket, value, cell, ClaimKey(bucket, value).shard, at) for bucket, value, cell in owners
    ]
    tx.execute(for_rows(_bury, rows))
    if tx.due(_PRUNE_EVERY):
        _prune(tx)


def claimed(tx: Transaction, cells: Mapping[ClaimKey, int]) -> None:
    """Raise the epochs of claims that are made for another cell than their last owner.

    Args:
        tx: the transaction.
        cells: the cell's id of each new claim.
    """
    if not tx.execute([Statement("SELECT 1 FROM tombstones LIMIT 1")])[0].rows:
        return
    shards: set[int] = set()
    for chunk in chunked(list(cells)):
        keys = in_keys(chunk)
        sql = f"DELETE FROM tombstones WHERE {keys.sql} RETURNING bucket, value, cell_id, shard"  # noqa: S608 - no text from outside
        for bucket, value, cell, number in tx.execute([Statement(sql, keys.params)])[0].rows:
            if cell != cells[ClaimKey(bucket, value)]:
                shards.add(number)
    _raise(tx, shards)


def claimed_under(lease: str) -> list[Statement]:
    """Return statements that do what `claimed` does, for a lease's creates once they are there."""
    return [Statement(_RAISE_BEGUN, (lease,)), Statement(_UNBURY_BEGUN, (lease,))]


def _raise(tx: Transaction, shards: Iterable[int]) -> None:
    tx.execute(for_rows(_raise_epochs, [(number, tx.revision) for number in sorted(shards)]))


def _prune(tx: Transaction) -> None:
    """Delete old tombstones, faster than new ones come."""
    old = (
        "DELETE FROM tombstones WHERE (bucket, value) IN (SELECT bucket, value FROM tombstones"
        " WHERE freed_at < ? ORDER BY freed_at LIMIT ?)"
    )
    before = stored(tx.connection, tx.at - TOMBSTONES_KEPT)
    tx.execute([Statement(old, (before, _PRUNE_AT_ONCE))])
