"""Look-ups on SQLite, straight on the driver's cursor: one statement, within microseconds."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine

from control_plane.topology.lookup.seen import FeedPosition, Seen
from control_plane.topology.lookup.sql import FEED_POSITION_SQL, OwnersSql, owner_sql
from control_plane.topology.storage.driver_errors import translate, translated_errors
from control_plane.topology.values import KeyPair, NormalisedKeys, normalised_or_none

_PARAMETER = "?"


class SqliteLookup:
    """The `ClaimLookup` on SQLite."""

    @translated_errors
    def __init__(self, engine: Engine) -> None:
        self._owner_sql = owner_sql(_PARAMETER)
        self._owners_sql = OwnersSql(_PARAMETER)
        self._checked_out = engine.raw_connection()
        connection: Any = self._checked_out.dbapi_connection
        self._cursor = connection.cursor()
        try:
            self._seen_version = self._data_version()
        except BaseException:
            self.close()  # nobody else has it yet
            raise

    def close(self) -> None:
        """Give the connection back."""
        self._cursor.close()
        self._checked_out.close()

    def owners_of(self, keys: Sequence[KeyPair]) -> Seen:
        """Return the owners of keys, and what is committed, as of one moment."""
        normalised = NormalisedKeys.of(keys)
        sql = self._owners_sql[len(normalised.keys)]
        try:
            row = self._cursor.execute(sql, normalised.parameters()).fetchone()
        except sqlite3.Error as error:
            raise translate(error) from error
        return Seen.of(row, normalised)

    def owner_ids_of(self, keys: Sequence[KeyPair]) -> list[int | None]:
        """Return the owning cell's id of each key, in order; None where nobody owns it."""
        execute, statement = self._cursor.execute, self._owner_sql
        owners: list[int | None] = []
        # `with translated_errors` would take 0.2 µs, and the whole look-up takes 5 µs.
        try:
            for bucket, value in keys:
                normal = normalised_or_none(bucket, value)
                row = None if normal is None else execute(statement, (bucket, normal)).fetchone()
                owners.append(None if row is None else row[0])
        except sqlite3.Error as error:
            raise translate(error) from error
        return owners

    @translated_errors
    def edge_revision(self) -> int:
        """Return the revision of the last change to a cell or to the active ruleset."""
        return int(self._cursor.execute("SELECT edge_revision FROM revisions").fetchone()[0])

    def changed(self) -> bool:
        """Tell whether any process has committed anything since the last call."""
        version = self._data_version()
        changed = version != self._seen_version
        self._seen_version = version
        return changed

    @translated_errors
    def feed_position(self) -> FeedPosition:
        """Return how far the change feed has come."""
        return FeedPosition(*self._cursor.execute(FEED_POSITION_SQL).fetchone())

    def _data_version(self) -> int:
        """Return SQLite's count of commits by other connections."""
        try:
            return int(self._cursor.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error as error:
            raise translate(error) from error
