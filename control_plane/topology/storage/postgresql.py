"""PostgreSQL: a server that several control planes share."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import count
from typing import Any, override

import psycopg
from psycopg.types.numeric import Int8Dumper
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    create_engine,
    event,
    literal_column,
    select,
    text,
)
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.pool import ConnectionPoolEntry

from control_plane.topology.storage import libpq_pipeline, schema
from control_plane.topology.storage.dialect import CountAndRows, Dialect, SqlAndParams
from control_plane.topology.storage.driver_errors import translated_errors
from control_plane.topology.storage.file_lock import FileLock
from control_plane.topology.storage.libpq_pipeline import Prepared
from control_plane.topology.storage.server_history import HISTORY_SQL
from control_plane.topology.storage.server_messages import CHANNEL
from control_plane.topology.values.errors import ReadOnly, Unavailable

READERS = 10
"""Connections for reads, at most, per process; one more writes."""
TRIES = 6
ROWS_PER_INSERT = 100
_PREPARED = "cellway_prepared"
"""The key of the `Prepared` in the info of the writer's connection."""
_MIGRATION_LOCK = 0x63656C6C776179
"""The advisory lock for migrations: of several processes that start at once, one migrates."""


class PostgresqlDialect(Dialect):
    """The database is a server, reached over the network by psycopg."""

    embedded = False
    write_tries = TRIES
    now = "clock_timestamp()"
    notify = f"pg_notify('{CHANNEL}', CAST(revision AS text))"

    @property
    @override
    def file(self) -> None:
        return None

    @override
    def exists(self) -> bool:
        return True

    @override
    def make(self) -> None:
        """Do nothing: a server's databases are made by its operator."""

    @override
    def hold(self, *, make: bool) -> FileLock:
        """Hold nothing: the server's own tools restore, and say themselves who is in their way."""
        del make
        return FileLock(None)

    @override
    def open_readers(self) -> Engine:
        return create_engine(
            self.url,
            isolation_level="REPEATABLE READ",
            pool_pre_ping=True,
            pool_size=READERS,
            max_overflow=0,
            execution_options=self.options,
        )

    @override
    def open_writer(self, readers: Engine) -> Engine:
        """Open the connection that writes. It reads committed data.

        Each write first takes the lock on the revision, and what it then reads must not be older
        than the lock. The connection isn't pinged before use, which would cost each write a round
        trip: a write that finds it broken is tried again.
        """
        del readers
        engine = create_engine(
            self.url,
            isolation_level="READ COMMITTED",
            pool_size=1,
            max_overflow=0,
            execution_options=self.options,
        )
        event.listen(engine, "connect", _set_up_writer)
        event.listen(engine, "rollback", _doubt_prepared)
        return engine

    @override
    def check_writable(self, connection: Connection) -> None:
        """Ask the server: it is a standby, or sessions on it are made read-only."""
        if connection.execute(text("SHOW transaction_read_only")).scalar_one() == "on":
            raise ReadOnly("transaction_read_only is on")

    @override
    def history(self, connection: Connection) -> str:
        """Ask the server. It may forbid the question; then only restores by our tools count."""
        if connection.execute(text("SELECT pg_is_in_recovery()")).scalar_one():
            raise Unavailable("the server is a standby, which may lack what others have seen")
        try:
            with connection.begin_nested():
                row = connection.execute(text(HISTORY_SQL)).one()
        except ProgrammingError:
            return ""
        return "-".join(map(str, row))

    @override
    def log_bytes(self) -> None:
        return None

    @override
    def shorten_log(self, connection: Connection) -> None:
        """Do nothing: the server looks after its log."""

    @override
    def lock_revision(self, connection: Connection) -> tuple[int, datetime]:
        clock: ColumnElement[datetime] = literal_column(self.now)
        query = select(schema.revisions.c.revision, clock.label("now")).with_for_update()
        row = connection.execute(query).one()
        return row.revision, row.now.astimezone(UTC)

    @override
    def run(self, connection: Connection, statements: Sequence[SqlAndParams]) -> list[CountAndRows]:
        """Run statements in one round trip."""
        raw: Any = connection.connection.dbapi_connection
        numbered = [(_numbered(sql), params) for sql, params in statements]
        return libpq_pipeline.run(raw, connection.info.get(_PREPARED), numbered)

    @override
    def insert(self, connection: Connection, head: str, rows: Sequence[Sequence[Any]]) -> int:
        statements: list[SqlAndParams] = []
        for start in range(0, len(rows), ROWS_PER_INSERT):
            chunk = rows[start : start + ROWS_PER_INSERT]
            marks = ", ".join([f"({', '.join('?' * len(chunk[0]))})"] * len(chunk))
            sql = f"{head} VALUES {marks} ON CONFLICT DO NOTHING"
            statements.append((sql, [value for row in chunk for value in row]))
        return sum(changed for changed, _ in self.run(connection, statements))

    @override
    def stored(self, at: datetime) -> datetime:
        return at

    @override
    async def notifications(self) -> AsyncIterator[str]:
        arguments, options = self.url.get_dialect()().create_connect_args(self.url)
        with translated_errors:
            connection = await psycopg.AsyncConnection.connect(
                *arguments, **{**options, "autocommit": True}
            )
            async with connection:
                await connection.execute(f"LISTEN {CHANNEL}".encode())
                async for notification in connection.notifies():
                    yield notification.payload

    @override
    def for_migrations(self, engine: Engine) -> Engine:
        return engine.execution_options(isolation_level="READ COMMITTED")

    @override
    def lock_migrations(self, connection: Connection) -> None:
        lock = text("SELECT pg_advisory_xact_lock(:lock)")
        connection.execute(lock, {"lock": _MIGRATION_LOCK})


def _set_up_writer(connection: Any, entry: ConnectionPoolEntry) -> None:
    entry.info[_PREPARED] = Prepared()
    # By default the size of each number picks its type, and each mix of types is another prepared
    # statement.
    connection.adapters.register_dumper(int, Int8Dumper)


def _doubt_prepared(connection: Connection) -> None:
    if not connection.closed and not connection.invalidated:
        connection.info[_PREPARED].doubt()


@lru_cache(maxsize=1024)
def _numbered(sql: str) -> bytes:
    """Return SQL with ``$1``, ``$2`` and so on, as libpq has it, for each ``?``."""
    numbers = count(1)
    return re.sub(r"\?", lambda _: f"${next(numbers)}", sql).encode()
