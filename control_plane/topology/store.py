"""Opens the database and runs transactions: SQLite with one writer, WAL and BEGIN IMMEDIATE."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, insert, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.pool import ConnectionPoolEntry

from control_plane.topology import schema
from control_plane.topology.model import Change

BUSY_TIMEOUT_MS = 10_000
"""How long a transaction waits for another process's write before it fails."""
Hint = Callable[[int], None]


@dataclass(slots=True)
class Transaction:
    """A write in progress: collects its changes; one revision covers them all."""

    connection: Connection
    revision: int
    actor: str
    at: datetime
    changes: list[Change] = field(default_factory=list)
    touches_edge: bool = False

    def log(
        self,
        kind: str,
        action: str,
        key: str,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None:
        """Append to the change feed, in this transaction."""
        self.changes.append(
            Change(self.revision, kind, action, key, before, after, self.actor, self.at)
        )


class Store:
    """The database, its migrations and its transactions. Thread-safe."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _engine(url)
        self._write_engine = self.engine.execution_options(begin_immediate=True)
        self._writer = threading.Lock()
        self._hints: list[Hint] = []

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def subscribe(self, hint: Hint) -> Callable[[], None]:
        """Call ``hint(revision)`` after each commit made here; returns how to stop."""
        self._hints.append(hint)
        return lambda: self._hints.remove(hint)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent read."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self, actor: str, *, dry_run: bool = False) -> Iterator[Transaction]:
        """A write: all of it commits under the next revision, or nothing does.

        A transaction that logs no change takes no revision. With ``dry_run`` everything is done
        and rolled back.
        """
        with self._writer:
            with self._write_engine.connect() as connection, connection.begin() as transaction:
                row = connection.execute(select(schema.revisions).with_for_update()).one()
                write = Transaction(connection, row.revision + 1, actor[:256], datetime.now(UTC))
                yield write
                if dry_run:
                    transaction.rollback()
                else:
                    _finish(write)
            committed = bool(write.changes) and not dry_run
        if committed:
            for hint in tuple(self._hints):
                hint(write.revision)


def _finish(write: Transaction) -> None:
    """Append to the feed and take the revision, if anything has changed."""
    if not write.changes:
        return
    write.connection.execute(insert(schema.changes), _rows(write))
    values = {"revision": write.revision}
    if write.touches_edge:
        values["edge_revision"] = write.revision
    write.connection.execute(update(schema.revisions).values(values))


def _rows(transaction: Transaction) -> list[dict[str, Any]]:
    return [
        {
            "revision": change.revision,
            "ordinal": ordinal,
            "kind": change.kind,
            "action": change.action,
            "key": change.key,
            "before": None if change.before is None else json.dumps(change.before),
            "after": None if change.after is None else json.dumps(change.after),
            "actor": change.actor,
            "at": change.at,
        }
        for ordinal, change in enumerate(transaction.changes)
    ]


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True, isolation_level="REPEATABLE READ")
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, connect_args={"autocommit": True, "timeout": 10})

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        # FULL: an acknowledged commit survives a power cut, not only a kill -9.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
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
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
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
