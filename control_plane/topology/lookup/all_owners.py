"""The owners of all claims at a revision, and every change of an owner after that.

Edges hold the owners of all claims as a table of fingerprints (`control_plane.owners`). They get it
as of one revision and keep it current by the change feed. A look-up answers for every row of
``claims``, whatever a lease is about to do with it. So these entries of the feed change an owner::

    create   route:acme   {"cell_id": 1, …}    cell 1 owns it from here on
    move     route:acme   {"cell_id": 2, …}    cell 2 owns it from here on
    delete   route:acme                        nobody owns it
    hold     route:acme   {"cell_id": 2, …}    a move holds it: who gets it depends on the request
    unhold   route:acme   {"cell_id": 2}       cell 2 owns it from here on

and these don't: ``destroy`` and ``replace`` lock a claim, ``update`` replaces it for its own cell.

Two tables are the same one if every revision means the same in both. A restore ends that: it may
undo changes and give their revisions to others. So a table has a number, its lineage, which each
restore replaces. On PostgreSQL the server's own history counts too, because a server that takes
over may lack the last commits of the one before it::

    lineage 71, history 7301-00000001-16384-16402    table 0x5c3d…
    after a promotion:  7301-00000002-16384-16402    table 0x91aa…, although the lineage is 71

An edge that is told of another table than its own reads all of it anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, case, literal, select

from control_plane.topology.storage import Store, dialect_of, schema
from control_plane.topology.values import DatabaseFailed, Gone, KeyPair

ROWS_AT_ONCE = 10_000
MAX_CHANGES = 5000
"""How many changes `AllOwners.since` reads at once, unless a single revision has more."""
HELD = 0xFFFFFFFF
"""In place of a cell's id: a move holds the claim, so edges have to ask (`owners.frames.ASK`)."""
_SETS = frozenset({"create", "move", "unhold"})
_KEEPS = frozenset({"destroy", "replace", "update"})
_C, _F, _R, _T = schema.claims.c, schema.changes.c, schema.revisions.c, schema.owners_table.c
_CELL_OR_HELD = case((_C.hold.is_not(None), literal(HELD, BigInteger)), else_=_C.cell_id)


class Untold(Exception):
    """The change feed does not tell a change of an owner; only the claims themselves do."""


@dataclass(frozen=True, slots=True)
class OwnersTable:
    """The table of owners that a database has."""

    table: int
    """64 bits that say which table it is; never 0."""
    key: bytes = field(repr=False)
    """The 16 secret bytes of its fingerprints; never logged."""


class OwnerChange(NamedTuple):
    """A change of an owner."""

    revision: int
    bucket: str
    value: str
    cell_id: int
    """The cell that owns the key from this revision on; 0 if nobody does, `HELD` by a move."""
    is_new: bool
    """Whether nobody owned it before."""


@dataclass(frozen=True, slots=True)
class OwnerChanges:
    """The changes of owners after a revision, in their order."""

    table: OwnersTable
    upto: int
    """The revision up to which ``changes`` are all that there are."""
    newest: int
    """The newest committed revision; above ``upto`` if there is more to read."""
    edge_revision: int
    """The revision of the last change to a cell or to the active ruleset, as of ``newest``."""
    changes: Sequence[OwnerChange]


@dataclass(frozen=True, slots=True)
class Owners:
    """The owners of all claims as of one moment, to be read while the transaction lasts."""

    table: OwnersTable
    revision: int
    rows: Iterator[Sequence[Any]]
    """Bucket, value and cell id (or `HELD`) of every claim, `ROWS_AT_ONCE` at once, in no order."""


class AllOwners:
    """Reads the owners of all claims."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def table(self) -> OwnersTable:
        """Return the table that the database has; raise as `since` does."""
        with self._store.read() as connection:
            return _table(connection)

    @contextmanager
    def read(self) -> Iterator[Owners]:
        """Give all owners as of one moment; raise as `since` does."""
        with self._store.read() as connection:
            revision = connection.execute(select(_R.revision)).scalar_one()
            query = select(_C.bucket, _C.value, _CELL_OR_HELD)
            rows = connection.execute(query.execution_options(yield_per=ROWS_AT_ONCE))
            yield Owners(_table(connection), revision, rows.partitions())

    def changed_before(self, upto: int, most: int) -> tuple[int, Sequence[KeyPair]]:
        """Return the keys whose owners changed last before a revision, and when that began.

        Args:
            upto: The last revision that counts.
            most: How many changes to look at.

        Returns:
            A revision, and the keys of all changes after it, up to and with ``upto``; in no order,
            and perhaps with some whose owner has not changed.
        """
        query = select(_F.revision, _F.key).where(_F.revision <= upto, _F.kind == "claim")
        query = query.order_by(_F.revision.desc(), _F.ordinal.desc()).limit(most + 1)
        with self._store.read() as connection:
            floor = connection.execute(select(_R.oldest_change)).scalar_one()
            rows = connection.execute(query).all()
        if len(rows) > most:
            # The oldest revision may have more changes than were read.
            floor = max(floor, rows[-1].revision)
        keys = {row.key for row in rows if row.revision > floor}
        return min(floor, upto), [(one[0], one[2]) for one in (key.partition(":") for key in keys)]

    def since(self, after: int) -> OwnerChanges:
        """Return the changes of owners after a revision; whole revisions only.

        Raises:
            Gone: the feed has been pruned past ``after``.
            Untold: a change can't be told from the feed.
            Unavailable: the database can't be reached, or it is a standby, which may lack what
                others have seen.
            DatabaseFailed: it can't carry out a statement, or somebody has emptied
                ``owners_table``.
        """
        with self._store.read() as connection:
            position = select(_R.revision, _R.oldest_change, _R.edge_revision)
            newest, oldest, edge_revision = connection.execute(position).one()
            if after < oldest:
                raise Gone(oldest)
            rows, upto = _claim_changes(connection, after, newest)
            changes = [change for row in rows if (change := _change(row)) is not None]
            return OwnerChanges(_table(connection), upto, newest, edge_revision, changes)


def key(connection: Connection) -> str:
    """Return the key of the fingerprints, as 32 hexadecimal digits."""
    return _row(connection)[0]


def _table(connection: Connection) -> OwnersTable:
    key, lineage = _row(connection)
    history = dialect_of(connection).history(connection)
    # Fingerprints of another key make another table, too.
    named = hashlib.blake2b(f"{lineage} {history} {key}".encode(), digest_size=8).digest()
    return OwnersTable(int.from_bytes(named) or 1, bytes.fromhex(key))


def _row(connection: Connection) -> tuple[str, int]:
    row = connection.execute(select(_T.key, _T.lineage)).one_or_none()
    if row is None:
        raise DatabaseFailed("owners_table has lost its row: restore the table from a backup")
    return row.key, row.lineage


def _claim_changes(connection: Connection, after: int, newest: int) -> tuple[Sequence[Any], int]:
    """Return changes of claims after a revision, and the revision up to which they are all."""
    query = select(_F.revision, _F.action, _F.key, _F.after)
    query = query.where(_F.revision > after, _F.kind == "claim")
    rows = connection.execute(query.order_by(_F.revision, _F.ordinal).limit(MAX_CHANGES)).all()
    if len(rows) < MAX_CHANGES:
        return rows, newest
    last = rows[-1].revision
    # The last revision may go on past the limit.
    complete = [row for row in rows if row.revision < last]
    if complete:
        return complete, last - 1
    whole = query.where(_F.revision == last).order_by(_F.ordinal)
    return connection.execute(whole).all(), last


def _change(row: Any) -> OwnerChange | None:
    """Return the change of an owner that an entry of the feed tells; None if it tells none."""
    if row.action in _KEEPS:
        return None
    bucket, colon, value = row.key.partition(":")
    if not colon or row.action not in {*_SETS, "delete", "hold"}:
        raise Untold(f"revision {row.revision}: {row.action} of {row.key}")
    if row.action == "delete":
        return OwnerChange(row.revision, bucket, value, 0, is_new=False)
    if row.action == "hold":
        return OwnerChange(row.revision, bucket, value, HELD, is_new=False)
    cell_id = json.loads(row.after or "{}").get("cell_id")
    if not isinstance(cell_id, int):
        raise Untold(f"revision {row.revision}: {row.action} of {row.key} names no cell id")
    return OwnerChange(row.revision, bucket, value, cell_id, is_new=row.action == "create")
