"""Runs transactions: one revision for all that a write changes, in the order of commits.

There are two ways to write. `Store.write` calls a function with a transaction of its own; most
writes are made so. `Store.write_statements` takes a `Write`, whose statements are known beforehand,
so that many go into one transaction and one round trip: the hot writes, those of leases, are made
so. Read on from there in `writer_queue`, `group_commit`, `statements` and `libpq_pipeline`, in this
order.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine

from control_plane.topology.storage import idempotency
from control_plane.topology.storage.driver_errors import translated_errors
from control_plane.topology.storage.engines import dialect_for
from control_plane.topology.storage.group_commit import Job, Write, run_jobs
from control_plane.topology.storage.mark_file import MarkFile
from control_plane.topology.storage.statements import Result
from control_plane.topology.storage.transaction import Transaction, bounded, take_revision
from control_plane.topology.storage.writability import Writability, trial_write
from control_plane.topology.storage.writer_queue import WriterQueue
from control_plane.topology.values import (
    Contention,
    EndpointPolicy,
    ReadOnly,
    TopologyError,
    Unavailable,
    Written,
)

_FIRST_PAUSE_S = 0.005
Hint = Callable[[int], None]


class Store:
    """The database and its transactions. Thread-safe."""

    def __init__(
        self,
        url: str,
        sequence_mark: MarkFile | None = None,
        endpoint_policy: EndpointPolicy | None = None,
    ) -> None:
        self.url = url
        self.sequence_mark = sequence_mark
        self.endpoint_policy = endpoint_policy or EndpointPolicy()
        self._dialect = dialect_for(url)
        self._lock = self._dialect.hold(make=False)
        self.engine = self._dialect.open_readers()
        self._write_engine = self._dialect.open_writer(self.engine)
        self._writers = WriterQueue(self._run_group)
        self._hints: list[Hint] = []
        self.writability = Writability()

    def hold(self) -> None:
        """Keep restores away until this is closed, even if no process has done so before.

        Raises:
            Unavailable: a restore is under way.
        """
        if not self._lock.held:
            self._lock = self._dialect.hold(make=True)

    @property
    def write_engine(self) -> Engine | None:
        """The engine of writes; None if they have their connections from `engine`."""
        return None if self._dialect.embedded else self._write_engine

    def close(self) -> None:
        """Close every connection."""
        self._write_engine.dispose()
        self.engine.dispose()
        self._lock.release()

    def subscribe(self, hint: Hint) -> Callable[[], None]:
        """Call ``hint(revision)`` after each commit made here; return a function that ends it."""
        self._hints.append(hint)
        return lambda: self._hints.remove(hint)

    def tell(self, revision: int) -> None:
        """Call every subscriber's hint."""
        for hint in tuple(self._hints):
            hint(revision)

    def check_writes(self) -> None:
        """Find out whether writes work, for `writability`; shorten a log that has grown long.

        That costs a short read while writes work. While they don't, it tries to write.
        """
        try:
            if self.writability.trouble is not None:
                self._try_to_write()
                return
            with translated_errors, self.engine.connect() as connection:
                # Outside of a transaction: a read of its own would keep the log from being emptied.
                self._dialect.shorten_log(connection)
                self._dialect.check_writable(connection)
        except TopologyError as error:
            self._forget_connections(error)
            self.writability.trial_failed(error)

    def log_bytes(self) -> int | None:
        """Return the size of the log that needs looking after; None on a server."""
        return self._dialect.log_bytes()

    def _try_to_write(self) -> None:
        def attempt(connection: Connection) -> tuple[None, bool]:
            self._dialect.lock_revision(connection)
            trial_write(connection)
            return None, True

        with self._writers.exclusive():
            self._transact(attempt)

    def _forget_connections(self, error: TopologyError) -> None:
        """Close the connections to a server that takes no writes: new ones may lead to another.

        Reads go there too, and would be of the past. Those in use are closed when they are free.
        """
        if isinstance(error, ReadOnly):
            self.engine.dispose()
            self._write_engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection on which all reads see the same state.

        Raises:
            Unavailable: the database can't be reached.
            DatabaseFailed: it can't carry out a statement.
        """
        with translated_errors, self.engine.connect() as connection, connection.begin():
            yield connection

    def write[T](
        self, actor: str, work: Callable[[Transaction], T], *, dry_run: bool = False
    ) -> tuple[T, Transaction]:
        """Commit everything that ``work`` does under the next revision, or nothing.

        A transaction that logs no change takes no revision.

        Args:
            actor: who writes, for the audit.
            work: does the write. It is called again when other writers were in the way, so it must
                have no effect outside the transaction.
            dry_run: whether to do everything and then roll it back.

        Returns:
            What ``work`` returned, and its transaction.

        Raises:
            Contention: other writers were in the way at each of a bounded number of tries.
            Unavailable: the database can't be reached, or was lost during the commit.
            DatabaseFailed: the database can't carry out a statement, or the commit.
            KeyTaken: another request has the idempotency key that this one is under.
        """
        once = idempotency.under_way()

        def attempt(connection: Connection) -> tuple[tuple[T, Transaction], bool]:
            revision, at = self._dialect.lock_revision(connection)
            tx = Transaction(connection, revision + 1, bounded(actor), at)
            tx.sequence_mark = self.sequence_mark
            tx.endpoint_policy = self.endpoint_policy
            if once is not None:
                once.store_key(connection, revision, at)
            value = work(tx)
            tx.abandoned |= dry_run
            if (tx.changes or tx.appended) and not tx.abandoned:
                take_revision(tx)
                for step in tx.before_commit:
                    step()
            return (value, tx), not tx.abandoned

        with self._writers.exclusive():
            value, tx = self._transact(attempt)
        if once is not None and not tx.abandoned:
            once.written = True
        if tx.took_revision and not tx.abandoned:
            self.tell(tx.revision)
        return value, tx

    def written[T](
        self, actor: str, work: Callable[[Transaction], T], *, dry_run: bool = False
    ) -> Written[T]:
        """Do as `write` does, and return the value with its revision and changes."""
        value, tx = self.write(actor, work, dry_run=dry_run)
        return tx.written(value)

    def write_statements[T](self, write: Write[T]) -> T:
        """Commit a write of fixed statements, in one transaction with those of waiting threads.

        Each has its own revision, and its own success or failure. Raises as `write` does.
        """
        once = idempotency.under_way()
        if once is None:
            return self._carry_out(write).result()

        def finish_once(tx: Transaction, results: list[Result]) -> T:
            once.store_key(tx.connection, tx.revision - 1, tx.at)
            return write.finish(tx, results)

        job = self._carry_out(replace(write, finish=finish_once, is_plain=None))
        once.written |= job.committed is not None
        return job.result()

    def _carry_out[T](self, write: Write[T]) -> Job[T]:
        return self.write_together([write])[0]

    def write_together(self, writes: Sequence[Write[Any]]) -> Sequence[Job[Any]]:
        """Commit several writes as if each came from a thread of its own.

        Returns:
            A job for each write, once all are done; ``result()`` returns or raises its outcome.
        """
        return self._writers.carry_out(writes)

    def _run_group(self, group: Sequence[Job[Any]]) -> None:
        """Run jobs in one transaction, one commit to disk for all, and record their outcomes."""
        try:
            self._transact(partial(run_jobs, group))
        except Exception as error:  # noqa: BLE001 - each writer of the group raises it
            for job in group:
                job.fail(error)
        except BaseException:
            for job in group:
                job.fail(Unavailable("the writer was stopped"))
            raise
        else:
            for job in group:
                job.succeed()
                if job.error is not None:
                    self.writability.failed(job.error)
                if job.committed is not None:
                    self.tell(job.committed.revision)

    def _transact[T](self, attempt: Callable[[Connection], tuple[T, bool]]) -> T:
        """Run one transaction; try again, a bounded number of times, while it can't be committed.

        Args:
            attempt: does the work; returns its value, and whether to commit.
        """
        tries = self._dialect.write_tries
        number = 0
        while True:
            number += 1
            committing = False
            try:
                with (
                    translated_errors,
                    self._write_engine.connect() as connection,
                    connection.begin() as transaction,
                ):
                    with _dropped_if_lost(connection):
                        value, keep = attempt(connection)
                    if not keep:
                        transaction.rollback()
                    committing = keep
            except Contention as error:
                if number == tries:
                    raise Contention(tries) from error
            except Unavailable as error:
                self._forget_connections(error)
                # What was sent before the commit is gone with the connection. The commit itself may
                # be done.
                if committing or number == tries:
                    self.writability.failed(error)
                    raise
            except TopologyError as error:
                self.writability.failed(error)
                raise
            else:
                if keep:
                    self.writability.worked()
                return value
            # The random pause spreads out writers that collided; no secret depends on it.
            time.sleep(random.uniform(0, _FIRST_PAUSE_S * 2**number))  # noqa: S311


@contextmanager
def _dropped_if_lost(connection: Connection) -> Iterator[None]:
    """Have SQLAlchemy drop a lost connection.

    It does so by itself for statements that go through it, not for those on the driver.
    """
    try:
        with translated_errors:
            yield
    except Unavailable as error:
        connection.invalidate(error)
        raise
