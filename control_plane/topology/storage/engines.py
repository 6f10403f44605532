"""Opens databases by URL: SQLite with one writer and WAL, PostgreSQL over psycopg."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.types.numeric import Int8Dumper
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from control_plane.topology.storage.libpq_pipeline import Prepared
from control_plane.topology.values.errors import Invalid, Problem

BUSY_TIMEOUT_MS = 10_000
"""How long a transaction on SQLite waits for another process's write before it fails."""
CACHE_KIB = 16 * 1024
"""SQLite's page cache, of each connection. With the default, 2 MiB, an import's transaction writes
pages out and reads them again."""
CHECKPOINT_PAGES = 4000
"""Pages in SQLite's log (16 MiB) before they are copied to the database. Claims come in no order:
with the default, 1000, an import copies most pages at each commit, twice the bytes in all."""
_LIBPQ = {
    "connect_timeout": "5",  # s
    # A machine that is gone says nothing. Without these the kernel waits for it a quarter of an
    # hour if something was sent, else for ever.
    "keepalives_idle": "10",  # s
    "keepalives_interval": "5",  # s
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",  # ms
}
"""Of each connection to PostgreSQL, unless the URL says otherwise."""
READERS = 10
"""Connections for reads to PostgreSQL, at most, per process; one more writes."""
PREPARED = "cellway_prepared"
"""Under this name the writer's connection has its `Prepared`."""
CHANNEL = "cellway_revision"
"""PostgreSQL's NOTIFY channel; a notification carries a revision and is a hint only."""


def parse_url(url: str) -> URL:
    """A database URL as SQLAlchemy takes it; ``postgresql://`` means psycopg.

    Its query has what libpq is told, also what the URL left out: a connection to a machine that
    is gone fails within half a minute.

    Raises:
        Invalid: neither SQLite nor PostgreSQL.
    """
    mend = "use sqlite:///FILE or postgresql://USER@HOST/DATABASE"
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise Invalid(Problem("database_url", f"{url!r} is no URL", mend)) from error
    if parsed.drivername in {"postgresql", "postgres", "postgresql+psycopg"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
        return parsed.update_query_dict({**_LIBPQ, **parsed.query})
    if parsed.drivername not in {"sqlite", "sqlite+pysqlite"}:
        raise Invalid(Problem("database_url", f"no driver for {parsed.drivername!r}", mend))
    return parsed


def open_readers(url: URL) -> Engine:
    """Connections for reads; each transaction sees one snapshot. On SQLite they also write."""
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    return create_engine(
        url,
        isolation_level="REPEATABLE READ",
        pool_pre_ping=True,
        pool_size=READERS,
        max_overflow=0,
    )


def open_writer(url: URL, readers: Engine) -> Engine:
    """The one connection of this process that writes.

    On PostgreSQL it reads committed data: each write first takes the lock on the revision, and
    what it then reads must not be older than the lock. It isn't pinged before use (a round trip
    on each write): who finds it broken tries again.
    """
    if url.get_backend_name() == "sqlite":
        return readers.execution_options(begin_immediate=True)
    engine = create_engine(
        url,
        isolation_level="READ COMMITTED",
        pool_size=1,
        max_overflow=0,
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, entry: ConnectionPoolEntry) -> None:
        entry.info[PREPARED] = Prepared()
        # By default the size of each number picks its type, and each mix of types is another
        # prepared statement.
        connection.adapters.register_dumper(int, Int8Dumper)

    @event.listens_for(engine, "rollback")
    def _rolled_back(connection: Connection) -> None:
        if not connection.closed and not connection.invalidated:
            connection.info[PREPARED].doubt()

    return engine


def _sqlite(url: URL) -> Engine:
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"autocommit": True, "timeout": 10})

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        # FULL: an acknowledged commit survives a power cut, not only a kill -9.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        cursor.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        cursor.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("begin_immediate")
        # A deferred BEGIN that reads and then writes fails with BUSY_SNAPSHOT under contention.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    @event.listens_for(engine, "commit")
    def _commit(connection: Connection) -> None:
        connection.exec_driver_sql("COMMIT")

    @event.listens_for(engine, "rollback")
    def _rollback(connection: Connection) -> None:
        raw = connection.connection.dbapi_connection
        if raw is not None and raw.in_transaction:
            connection.exec_driver_sql("ROLLBACK")

    return engine


def _alembic(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parents[1] / "migrations"))
    config.attributes["url"] = url
    return config


def migrate(engine: Engine) -> None:
    """Bring the schema up to date."""
    config = _alembic(str(engine.url))
    config.attributes["engine"] = engine
    command.upgrade(config, "head")


def pending_migrations(engine: Engine) -> tuple[str, ...]:
    """Ids of the migrations that this database lacks, oldest first."""
    script = ScriptDirectory.from_config(_alembic(str(engine.url)))
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    pending = [one.revision for one in script.iterate_revisions("head", current or "base")]
    return tuple(reversed(pending))
