"""SQLite: a file, one writer at a time, and readers that it does not disturb (WAL)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, override

from sqlalchemy import Connection, Engine, create_engine, event, select
from sqlalchemy.pool import ConnectionPoolEntry

from control_plane.topology.storage import schema
from control_plane.topology.storage.dialect import CountAndRows, Dialect, SqlAndParams

BUSY_TIMEOUT_MS = 10_000
"""How long a transaction waits for another process's write before it fails."""
CACHE_KIB = 16 * 1024
"""The page cache of each connection. With the default, 2 MiB, the transaction of an import writes
pages out and reads them again."""
CHECKPOINT_PAGES = 4000
"""Pages in the log (16 MiB) before they are copied to the database. Claims come in no order: with
the default, 1000, an import copies most pages at each commit, twice the bytes in all."""


class SqliteDialect(Dialect):
    """The database is a file that this process reads and writes by itself."""

    embedded = True
    write_tries = 1  # The driver itself waits for other writers, for `BUSY_TIMEOUT_MS`.
    now = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
    notify = "1"

    @property
    @override
    def file(self) -> Path | None:
        return Path(self.url.database) if self.url.database else None

    @override
    def open_readers(self) -> Engine:
        """Open connections for reads; they can write as well."""
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(
            self.url,
            connect_args={"autocommit": True, "timeout": BUSY_TIMEOUT_MS / 1000},
            execution_options=self.options,
        )
        event.listen(engine, "connect", _set_pragmas)
        event.listen(engine, "begin", _begin)
        event.listen(engine, "commit", _commit)
        event.listen(engine, "rollback", _roll_back)
        return engine

    @override
    def open_writer(self, readers: Engine) -> Engine:
        return readers.execution_options(begin_immediate=True)

    @override
    def lock_revision(self, connection: Connection) -> tuple[int, datetime]:
        # BEGIN IMMEDIATE has the lock already.
        revision = connection.execute(select(schema.revisions.c.revision)).scalar_one()
        return revision, datetime.now(UTC)

    @override
    def run(self, connection: Connection, statements: Sequence[SqlAndParams]) -> list[CountAndRows]:
        raw: Any = connection.connection.dbapi_connection
        results: list[CountAndRows] = []
        for sql, params in statements:
            cursor = raw.execute(sql, params)
            # Only when all rows are fetched does the driver know how many have changed.
            rows = cursor.fetchall()
            results.append((cursor.rowcount, rows))
        return results

    @override
    def insert(self, connection: Connection, head: str, rows: Sequence[Sequence[Any]]) -> int:
        if not rows:
            return 0
        raw: Any = connection.connection.dbapi_connection
        sql = f"{head} VALUES ({', '.join('?' * len(rows[0]))}) ON CONFLICT DO NOTHING"
        return int(raw.executemany(sql, rows).rowcount)

    @override
    def stored(self, at: datetime) -> str:
        """Return text, in the form in which SQLAlchemy writes it."""
        return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")

    @override
    async def notifications(self) -> AsyncIterator[str]:
        no_notifications: tuple[str, ...] = ()
        for text in no_notifications:
            yield text

    @override
    def for_migrations(self, engine: Engine) -> Engine:
        return engine

    @override
    def lock_migrations(self, connection: Connection) -> None:
        """Do nothing: the file has one writer at a time anyway."""


def _set_pragmas(connection: Any, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # FULL: a commit that was acknowledged survives a power cut, not only a kill -9.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    cursor.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    cursor.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    cursor.close()


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("begin_immediate")
    # A deferred BEGIN that reads and then writes fails with BUSY_SNAPSHOT under contention.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _commit(connection: Connection) -> None:
    connection.exec_driver_sql("COMMIT")


def _roll_back(connection: Connection) -> None:
    raw = connection.connection.dbapi_connection
    if raw is not None and raw.in_transaction:
        connection.exec_driver_sql("ROLLBACK")
