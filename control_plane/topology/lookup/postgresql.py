"""Look-ups on PostgreSQL: prepared statements over a connection that listens for commits."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, LiteralString

import psycopg
from sqlalchemy import Engine

from control_plane.topology.lookup.seen import FeedPosition, Seen
from control_plane.topology.lookup.sql import FEED_POSITION_SQL, OwnersSql, owner_sql
from control_plane.topology.storage import CHANNEL, is_elsewhere, translated_errors
from control_plane.topology.values import (
    KeyPair,
    NormalisedKeys,
    TopologyError,
    Unavailable,
    normalised_or_none,
)

POLL_S = 0.1
"""How long a lost notification can hide a commit."""
_PARAMETER = "%s"
_NO_KEYS = NormalisedKeys.of(())


class PostgresqlLookup:
    """The `ClaimLookup` on PostgreSQL.

    A notification tells at once that something may have been committed. Notifications can be lost,
    late or doubled, so the revision itself is read: after a notification, and otherwise every
    `POLL_S`. A call that finds its connection lost opens another one, once.

    The connection holds the state of a session (LISTEN, prepared statements), so no connection
    pooler in transaction mode may stand in between.
    """

    def __init__(self, engine: Engine) -> None:
        arguments, options = engine.dialect.create_connect_args(engine.url)
        self._target = (tuple(arguments), dict(options))
        self._owner_sql = owner_sql(_PARAMETER)
        self._owners_sql = OwnersSql(_PARAMETER)
        self._hinted = False
        self._connections = 0
        self._open()
        try:
            self._poll()
        except BaseException:
            self._connection.close()  # nobody else has it yet
            raise
        self._seen_revision = self._committed[0]

    def _open(self) -> None:
        arguments, options = self._target
        with translated_errors:
            self._connection: psycopg.Connection[Any] = psycopg.connect(
                *arguments, **options, autocommit=True
            )
            try:
                self._connection.execute(f"LISTEN {CHANNEL}")
            except BaseException:
                self._connection.close()
                raise
        self._connections += 1
        self._cursor = self._connection.cursor()
        self._polled_at = float("-inf")
        self._connection.add_notify_handler(self._note_hint)

    def _note_hint(self, _: psycopg.Notify) -> None:
        self._hinted = True

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def owners_of(self, keys: Sequence[KeyPair]) -> Seen:
        """Return the owners of keys, and what is committed, in one round trip.

        Without a key to look up it returns what was committed at most `POLL_S` ago.
        """
        normalised = NormalisedKeys.of(keys)
        if normalised.keys or self._is_poll_due():
            return Seen.of(self._poll(normalised), normalised)
        return Seen.of(self._committed, normalised)

    def owner_ids_of(self, keys: Sequence[KeyPair]) -> list[int | None]:
        """Return the owning cell's id of each key, in order; None where nobody owns it."""
        owners: list[int | None] = []
        for bucket, value in keys:
            normal = normalised_or_none(bucket, value)
            row = None if normal is None else self._row(self._owner_sql, (bucket, normal))
            owners.append(None if row is None else row[0])
        return owners

    def edge_revision(self) -> int:
        """Return the revision of the last change to a cell or to the active ruleset."""
        return int(self._poll()[1])

    def changed(self) -> bool:
        """Tell whether any process has committed anything since the last call."""
        if self._is_poll_due():
            self._poll()
        changed = self._committed[0] != self._seen_revision
        self._seen_revision = self._committed[0]
        return changed

    def feed_position(self) -> FeedPosition:
        """Return how far the change feed has come."""
        row = self._row(FEED_POSITION_SQL)
        assert row is not None
        return FeedPosition(row[0], row[1], row[2], self._connections)

    def _row(self, sql: LiteralString, params: Sequence[str] = ()) -> tuple[Any, ...] | None:
        """Return the first row of a statement; open another connection if this one is lost."""
        try:
            with translated_errors:
                return self._cursor.execute(sql, params, prepare=True).fetchone()
        except Unavailable:
            self._connection.close()
            self._open()
        with translated_errors:
            return self._cursor.execute(sql, params, prepare=True).fetchone()

    def _is_poll_due(self) -> bool:
        """Tell whether something may have been committed since the revision was last read."""
        return self._has_hint() or time.monotonic() - self._polled_at >= POLL_S

    def _has_hint(self) -> bool:
        """Tell whether a notification has come; read what has arrived, without waiting."""
        pgconn = self._connection.pgconn
        try:
            with translated_errors:
                pgconn.consume_input()
                while pgconn.notifies() is not None:
                    self._hinted = True
        except TopologyError:
            # The connection is lost. The next statement opens another one, or raises.
            return True
        return self._hinted

    def _poll(self, keys: NormalisedKeys = _NO_KEYS) -> tuple[Any, ...]:
        """Read what is committed, and the owners of keys: a row of `OwnersSql`."""
        self._hinted = False
        if is_elsewhere(self._connection):
            self._connection.close()
            self._open()
        row = self._row(self._owners_sql[len(keys.keys)], keys.parameters())
        assert row is not None
        self._polled_at = time.monotonic()
        self._committed: tuple[int, int] = row[0], row[1]
        """The revision and the edge revision that were read last."""
        return row
