"""SQLite: a file, one writer at a time, and readers that it does not disturb (WAL)."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, override

from sqlalchemy import Connection, Engine, create_engine, event, select
from sqlalchemy.engine import URL
from sqlalchemy.pool import ConnectionPoolEntry

from control_plane.topology.storage import schema
from control_plane.topology.storage.dialect import CountAndRows, Dialect, SqlAndParams
from control_plane.topology.storage.driver_errors import trouble_of
from control_plane.topology.storage.file_lock import FileLock, lock_shared
from control_plane.topology.values.errors import ReadOnly, Unavailable

BUSY_TIMEOUT_MS = 10_000
"""How long a transaction waits for another process's write before it fails."""
CACHE_KIB = 16 * 1024
"""The page cache of each connection. With the default, 2 MiB, the transaction of an import writes
pages out and reads them again."""
CHECKPOINT_PAGES = 4000
"""Pages in the log (16 MiB) before they are copied to the database. Claims come in no order: with
the default, 1000, an import copies most pages at each commit, twice the bytes in all."""
LOG_BYTES = CHECKPOINT_PAGES * 4096
"""How large the log's file stays when all of it is copied."""
MIGRATION_WAIT_MS = 3_600_000
"""How long a process waits for another one that migrates: millions of claims take minutes."""
_WAL_PAUSE_S = 0.01


class SqliteDialect(Dialect):
    """The database is a file that this process reads and writes by itself."""

    embedded = True
    write_tries = 1  # The driver itself waits for other writers, for `BUSY_TIMEOUT_MS`.
    now = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
    notify = "1"

    def __init__(self, url: URL) -> None:
        super().__init__(url)
        self._opened: tuple[int, int] | None = None
        """Device and inode of the file that the first connection has opened."""

    @property
    @override
    def file(self) -> Path | None:
        name = self.url.database
        return Path(name) if name and name != ":memory:" and "uri" not in self.url.query else None

    @override
    def exists(self) -> bool:
        return self.file is None or self.file.exists()

    @override
    def hold(self, *, make: bool) -> FileLock:
        return FileLock(None) if self.file is None else lock_shared(self.file, make=make)

    @override
    def make(self) -> None:
        if self.file is None or self.file.exists():
            return
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            # Of several processes that come here at once, none takes away what another has made.
            os.close(os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise trouble_of(error, self.file) from error

    @override
    def open_readers(self) -> Engine:
        """Open connections for reads; they can write as well.

        None makes the file: where it is gone while we run, an empty one would take its place. Nor
        is another file read that has taken its place: the log beside it belongs to the first one.
        """
        engine = create_engine(
            self.url,
            connect_args={"autocommit": True, "timeout": BUSY_TIMEOUT_MS / 1000},
            execution_options=self.options,
        )
        if self.file is not None:
            event.listen(engine, "do_connect", partial(self._open_existing, self.file))
            event.listen(engine, "connect", partial(self._note_opened, self.file))
        event.listen(engine, "connect", _set_pragmas)
        event.listen(engine, "begin", _begin)
        event.listen(engine, "commit", _commit)
        event.listen(engine, "rollback", _roll_back)
        return engine

    @override
    def open_writer(self, readers: Engine) -> Engine:
        return readers.execution_options(begin_immediate=True)

    @override
    def check_writable(self, connection: Connection) -> None:
        """Look at the file: whether it is still there, and may be written."""
        del connection
        file = self.file
        if file is None:
            return
        if not file.exists():
            raise ReadOnly(f"{file} is gone; stop, put it back, and start again")
        if self._is_another(file):
            raise ReadOnly(_replaced(file))
        if not os.access(file, os.W_OK):
            raise ReadOnly(f"{file} may not be written")

    def _is_another(self, file: Path) -> bool:
        return self._opened is not None and _identity(file) != self._opened

    def _note_opened(self, file: Path, *_: object) -> None:
        if self._opened is None:
            self._opened = _identity(file)

    def _open_existing(
        self, file: Path, _dialect: Any, _entry: Any, args: list[Any], options: dict[str, Any]
    ) -> None:
        """Have a connection open the file that was opened before, and make none."""
        if not file.exists():
            raise Unavailable(f"there is no file {file}")
        if self._is_another(file):
            raise Unavailable(_replaced(file))
        args[0] = f"{file.absolute().as_uri()}?mode=rw"
        options["uri"] = True

    @override
    def history(self, connection: Connection) -> str:
        """Return "": only `maintenance.restore` changes a file's history, and it says so itself."""
        del connection
        return ""

    @override
    def log_bytes(self) -> int | None:
        if self.file is None:
            return None
        try:
            return self.file.with_name(f"{self.file.name}-wal").stat().st_size
        except FileNotFoundError:
            return 0

    @override
    def shorten_log(self, connection: Connection) -> None:
        if (self.log_bytes() or 0) > 2 * LOG_BYTES:
            raw: Any = connection.connection.dbapi_connection
            # It must not wait for reads or writes: the next time will do.
            raw.execute("PRAGMA busy_timeout=0")
            try:
                raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                raw.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")

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
        """Return an engine whose transactions wait long for the one writer, and are that."""
        return engine.execution_options(begin_immediate=True, busy_timeout_ms=MIGRATION_WAIT_MS)

    @override
    def lock_migrations(self, connection: Connection) -> None:
        """Have the transaction, which has the lock already, wait no longer than usual."""
        connection.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")


def _identity(file: Path) -> tuple[int, int] | None:
    """Return what tells a file from one that has taken its name; None if there is none."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _replaced(file: Path) -> str:
    return f"another file has been put in the place of {file}; stop, and use `cellway db restore`"


def _set_pragmas(connection: Any, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    _enter_wal_mode(cursor)
    # FULL: a commit that was acknowledged survives a power cut, not only a kill -9.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    cursor.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    # A log that a long read has kept from being reused is cut down to this afterwards.
    cursor.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")
    cursor.close()


def _enter_wal_mode(cursor: sqlite3.Cursor) -> None:
    """Turn the log on, which a new file lacks.

    SQLite does not wait here for other processes that do the same, whatever ``busy_timeout`` says.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(_WAL_PAUSE_S)
        else:
            return


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if "busy_timeout_ms" in options:
        connection.exec_driver_sql(f"PRAGMA busy_timeout={options['busy_timeout_ms']}")
    # A deferred BEGIN that reads and then writes fails with BUSY_SNAPSHOT under contention.
    immediate = options.get("begin_immediate")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _commit(connection: Connection) -> None:
    connection.exec_driver_sql("COMMIT")


def _roll_back(connection: Connection) -> None:
    raw = connection.connection.dbapi_connection
    if raw is not None and raw.in_transaction:
        connection.exec_driver_sql("ROLLBACK")
