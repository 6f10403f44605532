"""Epochs: for each shard of the claims' keyspace, when an owner last changed in it.

What a cache keeps of a shard is void once the shard's epoch is newer than what is kept. An owner
changes when a claim moves, and when a name is claimed by another cell than its last owner: so a
freed name leaves a tombstone. New names and releases raise no epoch: those that cache bound how
long they keep an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from sqlalchemy import Connection, select

from control_plane.topology.storage import schema
from control_plane.topology.storage.statements import Statement, chunked, for_rows, in_keys, stored
from control_plane.topology.storage.transaction import Transaction
from control_plane.topology.values.claim_key import SHARDS, ClaimKey

KEPT = timedelta(hours=48)
"""How long a freed name's last owner is remembered: far longer than any cache may live."""
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
    """The revision of the last change of an owner, by shard; absent where there was none."""
    table = schema.epochs.c
    return {
        row.shard: row.revision for row in connection.execute(select(table.shard, table.revision))
    }


def moved(tx: Transaction, keys: Iterable[ClaimKey]) -> None:
    """Claims (normalised) changed their owner in this transaction: raise their epochs."""
    _raise(tx, {key.shard for key in keys})


def restored(tx: Transaction) -> None:
    """Any owner may be another than before: raise all epochs."""
    _raise(tx, range(SHARDS))


def freed(tx: Transaction, owners: Sequence[tuple[str, str, int]]) -> None:
    """Claims (bucket, normalised value, cell's id) were freed: remember their last owners."""
    at = stored(tx.connection, tx.at)
    rows = [
        (bucket, value, cell, ClaimKey(bucket, value).shard, at) for bucket, value, cell in owners
    ]
    tx.execute(for_rows(_bury, rows))
    if tx.due(_PRUNE_EVERY):
        _prune(tx)


def claimed(tx: Transaction, cells: Mapping[ClaimKey, int]) -> None:
    """Claims (normalised) were made for cells: raise an epoch where the last owner was another."""
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
    """The same for what a lease creates, to be run after its claims are inserted."""
    return [Statement(_RAISE_BEGUN, (lease,)), Statement(_UNBURY_BEGUN, (lease,))]


def _raise(tx: Transaction, shards: Iterable[int]) -> None:
    tx.execute(for_rows(_raise_epochs, [(number, tx.revision) for number in sorted(shards)]))


def _prune(tx: Transaction) -> None:
    """Forget last owners of long ago, faster than new ones come."""
    old = (
        "DELETE FROM tombstones WHERE (bucket, value) IN (SELECT bucket, value FROM tombstones"
        " WHERE freed_at < ? ORDER BY freed_at LIMIT ?)"
    )
    before = stored(tx.connection, tx.at - KEPT)
    tx.execute([Statement(old, (before, _PRUNE_AT_ONCE))])
