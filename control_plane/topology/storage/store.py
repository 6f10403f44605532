"""Runs transactions: one revision for all that a write changes, in the order of commits."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import Connection

from control_plane.topology.storage import idempotency
from control_plane.topology.storage.driver_errors import translated_errors
from control_plane.topology.storage.engines import (
    dialect_for,
    migrate,
    pending_migrations,
)
from control_plane.topology.storage.group_commit import Job, Write, enqueue, run_jobs, take_group
from control_plane.topology.storage.mark_file import MarkFile
from control_plane.topology.storage.statements import Result
from control_plane.topology.storage.transaction import Transaction, bounded, take_revision
from control_plane.topology.values.change import Written
from control_plane.topology.values.errors import Contention, Unavailable

_FIRST_PAUSE_S = 0.005
Hint = Callable[[int], None]


class Store:
    """The database and its transactions. Thread-safe."""

    def __init__(self, url: str, sequence_mark: MarkFile | None = None) -> None:
        self.url = url
        self.sequence_mark = sequence_mark
        self._dialect = dialect_for(url)
        self.engine = self._dialect.open_readers()
        self._write_engine = self._dialect.open_writer(self.engine)
        self._writer = threading.Lock()
        self._queueing = threading.Lock()
        self._queue: list[Job[Any]] = []
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
        with translated_errors, self.engine.connect() as connection, connection.begin():
            yield connection

    def write[T](
        self, actor: str, work: Callable[[Transaction], T], *, dry_run: bool = False
    ) -> tuple[T, Transaction]:
        """A write: all that ``work`` does commits under the next revision, or nothing does.

        ``work`` is called again when other writers were in the way, so it has no other effect.
        A transaction that logs no change takes no revision. With ``dry_run`` everything is done
        and rolled back. Returns what ``work`` returned, and its transaction.

        Raises:
            Contention: others were in the way at each of a bounded number of tries.
            Unavailable: the database can't be reached, or was lost during the commit.
            KeyTaken: another request has the idempotency key that this one is under.
        """
        once = idempotency.under_way()

        def attempt(connection: Connection) -> tuple[tuple[T, Transaction], bool]:
            revision, at = self._dialect.lock_revision(connection)
            tx = Transaction(connection, revision + 1, bounded(actor), at)
            tx.sequence_mark = self.sequence_mark
            if once is not None:
                once.keep(connection, revision, at)
            done = work(tx)
            tx.abandoned |= dry_run
            if (tx.changes or tx.appended) and not tx.abandoned:
                take_revision(tx)
                for step in tx.before_commit:
                    step()
            return (done, tx), not tx.abandoned

        self._writer.acquire()
        try:
            done, tx = self._transact(attempt)
        finally:
            self._pass_on()
        if once is not None and not tx.abandoned:
            once.written = True
        if tx.took_revision and not tx.abandoned:
            self.tell(tx.revision)
        return done, tx

    def written[T](
        self, actor: str, work: Callable[[Transaction], T], *, dry_run: bool = False
    ) -> Written[T]:
        """Do as `write` does, and return the value with its revision and changes."""
        value, tx = self.write(actor, work, dry_run=dry_run)
        return tx.written(value)

    def write_statements[T](self, write: Write[T]) -> T:
        """A write of fixed statements. Writes of other threads that wait meanwhile go into the same
        transaction, each with its own revision and its own success or failure.

        Raises as `write` does.
        """
        once = idempotency.under_way()
        if once is None:
            return self._alone(write).result()

        def finish_once(tx: Transaction, results: list[Result]) -> T:
            once.keep(tx.connection, tx.revision - 1, tx.at)
            return write.finish(tx, results)

        job = self._alone(replace(write, finish=finish_once, is_plain=None))
        if job.error is None and job.tx is not None:
            once.written |= not job.tx.abandoned
        return job.result()

    def _alone[T](self, write: Write[T]) -> Job[T]:
        return self.write_together([write])[0]

    def write_together(self, writes: Sequence[Write[Any]]) -> Sequence[Job[Any]]:
        """Several writes as if each came from a thread of its own; returns when all are done.

        What became of each its ``result()`` says, or raises.
        """
        woken = threading.Event()
        jobs = [Job(write, woken=woken) for write in writes]
        with self._queueing:
            for job in jobs:
                enqueue(self._queue, job)
        for job in jobs:
            self._see_done(job)
        return jobs

    def _see_done(self, job: Job[Any]) -> None:
        while not job.done:
            # Either the writer is free, or who has it will wake the queue's head when done.
            if self._writer.acquire(blocking=False):
                try:
                    if not job.done:
                        self._run_group(job)
                finally:
                    self._pass_on()
            else:
                job.woken.wait()
                job.woken.clear()

    def _pass_on(self) -> None:
        """Release the writer, and wake who waits first."""
        self._writer.release()
        with self._queueing:
            if self._queue:
                self._queue[0].woken.set()

    def _run_group(self, first: Job[Any]) -> None:
        """Run a job and what waits behind it in one transaction: one commit to disk for all."""
        with self._queueing:
            self._queue.remove(first)
            group = [first, *take_group(self._queue, len(first.statements))]
            del self._queue[: len(group) - 1]
        try:
            self._transact(partial(run_jobs, group))
        except BaseException as error:
            # Each writer of the group must learn of it, whoever ran it.
            told = error if isinstance(error, Exception) else Unavailable("the writer was stopped")
            for job in group:
                job.fail(told)
            if told is error:
                return
            raise
        for job in group:
            job.succeed()
            if job.tx is not None and not job.tx.abandoned and job.error is None:
                self.tell(job.tx.revision)

    def _transact[T](self, attempt: Callable[[Connection], tuple[T, bool]]) -> T:
        """One transaction, tried again within bounds; ``attempt`` says whether to keep it."""
        tries = self._dialect.write_tries
        for number in range(1, tries + 1):
            if number > 1:
                # No secret hangs on it: it spreads out writers that collided.
                time.sleep(random.uniform(0, _FIRST_PAUSE_S * 2 ** (number - 1)))  # noqa: S311
            committing = False
            try:
                with (
                    translated_errors,
                    self._write_engine.connect() as connection,
                    connection.begin() as transaction,
                ):
                    with _dropped_if_lost(connection):
                        done, kept = attempt(connection)
                    if not kept:
                        transaction.rollback()
                    committing = kept
            except Unavailable:
                # What was sent before the commit is gone with the connection; the commit itself
                # may be done.
                if committing or number == tries:
                    raise
            except Contention as error:
                if number == tries:
                    raise Contention(number) from error
            else:
                return done
        raise AssertionError  # pragma: no cover - the last try returns or raises

    def tell(self, revision: int) -> None:
        """Call every subscriber's hint."""
        for hint in tuple(self._hints):
            hint(revision)


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


__all__ = ["Store", "migrate", "pending_migrations"]
