"""Group commit: writes that wait for each other anyway share a transaction and one fsync.

Revisions are taken under one lock, so writes can't commit side by side. Under load the time of a
write is that of its commit to disk; so what queues up while one commits goes in together next,
each write under a savepoint of its own.

On PostgreSQL a group is first sent as a whole, in one round trip: most writes need nothing more.
Where one of them does, or fails, all of that is undone, the others are sent once more, and those
that are left run one after the other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from control_plane.topology.storage.dialect import dialect_of
from control_plane.topology.storage.driver_errors import translated_errors
from control_plane.topology.storage.statements import Result, Statement, execute, moment
from control_plane.topology.storage.transaction import Transaction, taking_revision
from control_plane.topology.values.errors import (
    Contention,
    DatabaseFailed,
    TopologyError,
    Unavailable,
)

MAX_JOBS = 32
MAX_STATEMENTS = 256
"""Bounds of a group: who comes first shall not wait long for the others."""
_SAVE = Statement("SAVEPOINT job")
_UNDO = Statement("ROLLBACK TO SAVEPOINT job")
_TRIES_AT_ONCE = 2
_SAVE_ALL = Statement("SAVEPOINT jobs")
_UNDO_ALL = Statement("ROLLBACK TO SAVEPOINT jobs")


@dataclass(frozen=True, slots=True)
class Write[T]:
    """A write of fixed statements, to be sent together after the one that takes the revision.

    They find it and its time in the table ``revisions``, and append to the change feed themselves.
    """

    statements: Sequence[Statement]
    finish: Callable[[Transaction, list[Result]], T]
    """Judges their results: it may run more, raise, or abandon. It is called again when the
    transaction is."""
    actor: str
    ahead: bool = False
    """Goes before those that are not: it ends what another write began."""
    is_plain: Callable[[list[Result]], bool] | None = None
    """Whether, with these results, ``finish`` succeeds and doesn't look at what later writes change
    too. Without it, others are never sent before it is finished."""


@dataclass(slots=True, eq=False)
class Job[T]:
    """A write, and what became of it once it is done."""

    write: Write[T]
    tx: Transaction | None = None
    value: T | None = None
    error: Exception | None = None
    done: bool = False
    woken: threading.Event = field(default_factory=threading.Event)

    def succeed(self) -> None:
        """The transaction is committed; ``error`` is the job's own, if it has one."""
        self.done = True
        self.woken.set()

    def fail(self, error: Exception) -> None:
        """The whole transaction failed."""
        self.error = error
        self.done = True
        self.woken.set()

    @property
    def statements(self) -> Sequence[Statement]:
        """Those of the write."""
        return self.write.statements

    def result(self) -> T:
        """What ``finish`` returned; raises what it raised."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


def enqueue(queue: list[Job[Any]], job: Job[Any]) -> None:
    """Append a job, or put it behind the last of those that go ahead.

    These can't keep the others waiting for ever: each of them was begun by one of the others.
    """
    at = len(queue)
    if job.write.ahead:
        at = next((place for place, other in enumerate(queue) if not other.write.ahead), at)
    queue.insert(at, job)


def take_group(queue: Sequence[Job[Any]], statements: int) -> Sequence[Job[Any]]:
    """The jobs at the queue's head that go with one of so many statements."""
    for at, job in enumerate(queue[: MAX_JOBS - 1]):
        statements += len(job.statements)
        if statements > MAX_STATEMENTS:
            return queue[:at]
    return queue[: MAX_JOBS - 1]


def run_jobs(jobs: Sequence[Job[Any]], connection: Connection) -> tuple[None, bool]:
    """Run each job; whether there is anything to commit. Nothing counts before the commit."""
    alone = len(jobs) == 1
    left = jobs
    if not alone and not dialect_of(connection).embedded:
        left = _run_plain(jobs, connection)
    kept = len(left) < len(jobs)
    for job in left:
        if _succeeds(job, connection, [] if alone else [_SAVE]):
            kept = True
        elif not alone:
            execute(connection, [_UNDO])
    return None, kept


def _run_plain(jobs: Sequence[Job[Any]], connection: Connection) -> Sequence[Job[Any]]:
    """Run those of the jobs that are plain; gives the others, of which nothing is done then."""
    plain: Sequence[Job[Any]] = [job for job in jobs if job.write.is_plain is not None]
    for _ in range(_TRIES_AT_ONCE):
        good = _run_at_once(plain, connection)
        if len(good) == len(plain):
            break
        plain = good
    else:
        plain = ()
    done = set(plain)
    return [job for job in jobs if job not in done]


def _run_at_once(jobs: Sequence[Job[Any]], connection: Connection) -> Sequence[Job[Any]]:
    """Run the jobs in one round trip and give those that are plain.

    Where those aren't all, nothing is done.
    """
    if not jobs:
        return jobs
    try:
        with translated_errors:
            plain = _sent_at_once(jobs, connection)
    except DatabaseFailed:
        # Which of them it was, their running one after the other shows.
        plain = ()
    if len(plain) < len(jobs):
        execute(connection, [_UNDO_ALL])
    return plain


def _sent_at_once(jobs: Sequence[Job[Any]], connection: Connection) -> Sequence[Job[Any]]:
    """Send the jobs after a savepoint; those that are plain, finished if all are."""
    sent = [_SAVE_ALL]
    for job in jobs:
        sent += (taking_revision(connection, quietly=job is not jobs[-1]), *job.statements)
    done = iter(execute(connection, sent)[1:])
    each = [(job, next(done), [next(done) for _ in job.statements]) for job in jobs]
    plain = [job for job, _, made in each if _is_plain(job.write, made)]
    if len(plain) == len(jobs):
        for job, taken, made in each:
            revision, at = taken.rows[0][:2]
            actor = job.write.actor
            job.tx = Transaction(connection, revision, actor, moment(at), took_revision=True)
            job.value, job.error = job.write.finish(job.tx, made), None
    return plain


def _is_plain(write: Write[Any], results: list[Result]) -> bool:
    return write.is_plain is not None and write.is_plain(results)


def _succeeds(job: Job[Any], connection: Connection, before: list[Statement]) -> bool:
    """Run a job and note what came of it; False where what it did must be undone."""
    job.tx, job.value, job.error = None, None, None
    try:
        with translated_errors:
            done = execute(connection, [*before, taking_revision(connection), *job.statements])
            taken, *results = done[len(before) :]
            revision, at = taken.rows[0][:2]
            tx = Transaction(connection, revision, job.write.actor, moment(at), took_revision=True)
            job.value = job.write.finish(tx, results)
    except (Contention, Unavailable):
        # These end the transaction of the whole group.
        raise
    except TopologyError as error:
        job.error = error
        return False
    job.tx = tx
    return not tx.abandoned
