"""Runs transactions: one revision for all that a write changes, in the order of commits."""

from __future__ import annotations

import json
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg
from sqlalchemy import ColumnElement, Connection, insert, literal_column, select
from sqlalchemy.exc import DBAPIError

from control_plane.topology import schema
from control_plane.topology.database import (
    driver_error,
    is_conflict,
    is_lost,
    migrate,
    open_readers,
    open_writer,
    parse_url,
    pending_migrations,
)
from control_plane.topology.errors import Contention, Unavailable
from control_plane.topology.mark_file import MarkFile
from control_plane.topology.model import Change
from control_plane.topology.statements import Result, Statement, execute, moment

TRIES = 6
"""How often a write is tried when others are in its way or the connection is lost before it."""
_FIRST_PAUSE_S = 0.005
_TAKE_REVISION = Statement(
    "UPDATE revisions SET revision = revision + 1, at = {now} RETURNING revision, at, {notify}"
)
_TOUCH_EDGE = Statement("UPDATE revisions SET edge_revision = revision")
Hint = Callable[[int], None]


@dataclass(slots=True)
class Transaction:
    """A write in progress: collects its changes; one revision covers them all."""

    connection: Connection
    revision: int
    actor: str
    at: datetime
    changes: list[Change] = field(default_factory=list)
    appended: int = 0
    """Entries that went to the change feed past ``changes``, in bulk."""
    touches_edge: bool = False
    sequence_mark: MarkFile | None = None
    before_commit: list[Callable[[], None]] = field(default_factory=list)
    """What must have happened outside the database before the commit; an error rolls back."""
    took_revision: bool = False
    abandoned: bool = False
    """Set where nothing is to be changed after all: roll back, without an error."""

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

    def execute(self, statements: Sequence[Statement]) -> list[Result]:
        """Run fixed statements in this transaction."""
        return execute(self.connection, statements)


class Store:
    """The database and its transactions. Thread-safe."""

    def __init__(self, url: str, sequence_mark: MarkFile | None = None) -> None:
        parsed = parse_url(url)
        self.url = url
        self.sequence_mark = sequence_mark
        self.engine = open_readers(parsed)
        self._write_engine = open_writer(parsed, self.engine)
        on_server = self.engine.dialect.name == "postgresql"
        clock: ColumnElement[Any] = literal_column("clock_timestamp()" if on_server else "NULL")
        self._clock = clock.label("now")
        self._writer = threading.Lock()
        self._hints: list[Hint] = []

    def close(self) -> None:
        """Close every connection."""
        self._write_engine.dispose()
        self.engine.dispose()

    def subscribe(self, hint: Hint) -> Callable[[], None]:
        """Call ``hint(revision)`` after each commit made here; returns how to stop."""
        self._hints.append(hint)
        return lambda: self._hints.remove(hint)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent read.

        Raises:
            Unavailable: the database can't be reached.
        """
        try:
            with self.engine.connect() as connection, connection.begin():
                yield connection
        except DBAPIError as error:
            if is_lost(error):
                raise Unavailable(str(driver_error(error)).strip()) from error
            raise

    def write[T](
        self, actor: str, work: Callable[[Transaction], T], *, dry_run: bool = False
    ) -> tuple[T, Transaction]:
        """A write: all that ``work`` does commits under the next revision, or nothing does.

        ``work`` is called again when other writers were in the way, so it has no other effect.
        A transaction that logs no change takes no revision. With ``dry_run`` everything is done
        and rolled back. Returns what ``work`` returned, and its transaction.

        Raises:
            Contention: others were in the way ``TRIES`` times.
            Unavailable: the database can't be reached, or was lost during the commit.
        """

        def attempt(connection: Connection) -> tuple[T, Transaction]:
            query = select(schema.revisions.c.revision, self._clock).with_for_update()
            row = connection.execute(query).one()
            at = moment(row.now) if row.now else datetime.now(UTC)
            tx = Transaction(connection, row.revision + 1, bounded(actor), at)
            tx.sequence_mark = self.sequence_mark
            done = work(tx)
            tx.abandoned |= dry_run
            if (tx.changes or tx.appended) and not tx.abandoned:
                _take_revision(tx)
                for step in tx.before_commit:
                    step()
            return done, tx

        return self._transact(attempt)

    def write_statements[T](
        self,
        statements: Sequence[Statement],
        finish: Callable[[Transaction, list[Result]], T],
        *,
        actor: str,
    ) -> T:
        """A write of fixed statements, sent together after the one that takes the revision.

        They find it and its time in the table ``revisions``, and append to the change feed
        themselves. ``finish`` judges their results: it may run more, raise, or abandon.
        Raises as `write` does.
        """

        def attempt(connection: Connection) -> tuple[T, Transaction]:
            taken, *results = execute(connection, [_TAKE_REVISION, *statements])
            revision, at = taken.rows[0][:2]
            tx = Transaction(connection, revision, bounded(actor), moment(at), took_revision=True)
            return finish(tx, results), tx

        return self._transact(attempt)[0]

    def _transact[T](
        self, attempt: Callable[[Connection], tuple[T, Transaction]]
    ) -> tuple[T, Transaction]:
        for number in range(TRIES):
            if number:
                # No secret hangs on it: it spreads out writers that collided.
                time.sleep(random.uniform(0, _FIRST_PAUSE_S * 2**number))  # noqa: S311
            committing = False
            try:
                with (
                    self._writer,
                    self._write_engine.connect() as connection,
                    connection.begin() as transaction,
                ):
                    with _guarded(connection):
                        done, tx = attempt(connection)
                    if tx.abandoned:
                        transaction.rollback()
                    committing = not tx.abandoned
            except (DBAPIError, psycopg.Error, sqlite3.Error) as error:
                _judge(error, committing=committing, last=number == TRIES - 1)
            else:
                if tx.took_revision and not tx.abandoned:
                    self.tell(tx.revision)
                return done, tx
        raise Contention(TRIES)

    def tell(self, revision: int) -> None:
        """Call every subscriber's hint."""
        for hint in tuple(self._hints):
            hint(revision)


def _judge(error: Exception, *, committing: bool, last: bool) -> None:
    """Raise what the error means, unless the transaction may be tried again."""
    found = driver_error(error)
    if is_lost(error):
        # What was sent before the commit is gone with the connection; the commit may be done.
        if committing or last:
            raise Unavailable(str(found).strip()) from error
    elif not is_conflict(error):
        raise error
    elif isinstance(found, sqlite3.Error):
        # It has waited for BUSY_TIMEOUT_MS already.
        raise Contention(1) from error


@contextmanager
def _guarded(connection: Connection) -> Iterator[None]:
    """Statements on the driver itself fail past SQLAlchemy: it must not reuse a lost connection."""
    try:
        yield
    except psycopg.Error as error:
        if is_lost(error):
            connection.invalidate(error)
        raise


def bounded(actor: str) -> str:
    """An actor's name as it is kept; PostgreSQL keeps no NUL in text."""
    return actor[:256].replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _take_revision(tx: Transaction) -> None:
    """Append to the feed and take the revision."""
    if tx.changes:
        tx.connection.execute(insert(schema.changes), _rows(tx))
    execute(tx.connection, [_TAKE_REVISION, _TOUCH_EDGE] if tx.touches_edge else [_TAKE_REVISION])
    tx.took_revision = True


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
        for ordinal, change in enumerate(transaction.changes, transaction.appended)
    ]


__all__ = ["Store", "Transaction", "bounded", "migrate", "pending_migrations"]
