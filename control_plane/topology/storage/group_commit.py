"""Group commit: writes that wait for each other anyway share a transaction and one disk flush.

Revisions are taken under one lock, so writes can't commit side by side, and under load a write
takes as long as its commit to disk. So the writes that queue up while one commits go into the next
transaction together (`writer_queue`). Each still has its own revision, and its own success or
failure: it runs under a savepoint of its own.

    BEGIN
    SAVEPOINT job;  UPDATE revisions … → 41;  statements of write a          a succeeds
    SAVEPOINT job;  UPDATE revisions … → 42;  statements of write b
    ROLLBACK TO SAVEPOINT job                                                b fails: 42 is free
    SAVEPOINT job;  UPDATE revisions … → 42;  statements of write c          c succeeds
    COMMIT

On a server each of these steps would be a round trip. So a group is first sent as a whole, in one
round trip under one savepoint. Most writes are *plain*: their results alone say that they
succeeded, and nothing more needs to be sent. If a write is not plain, the whole group is undone.
Then the plain writes are sent once more, and the others run one after the other as above.
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
"""Jobs of a group at most: the first must not wait long for the others."""
MAX_STATEMENTS = 256
"""Statements of a group at most, for the same reason."""
_SAVE = Statement("SAVEPOINT job")
_UNDO = Statement("ROLLBACK TO SAVEPOINT job")
_SAVE_ALL = Statement("SAVEPOINT jobs")
_UNDO_ALL = Statement("ROLLBACK TO SAVEPOINT jobs")
_TRIES_AT_ONCE = 2
"""How often plain jobs are sent as a whole before each runs by itself."""


@dataclass(frozen=True, slots=True)
class Write[T]:
    """A write of fixed statements.

    They are sent together, after the statement that takes the revision. They find the revision and
    its time in the table ``revisions``, and append to the change feed themselves.
    """

    statements: Sequence[Statement]
    finish: Callable[[Transaction, list[Result]], T]
    """Judges the statements' results: it may run more statements, raise, or abandon the
    transaction. It is called again when the transaction is tried again."""
    actor: str
    ahead: bool = False
    """Whether it goes before writes that don't: it ends what another write began."""
    is_plain: Callable[[list[Result]], bool] | None = None
    """Whether, with these results, ``finish`` succeeds and looks at nothing that later writes
    change too. Without it, no other write is sent before this one is finished."""


@dataclass(slots=True, eq=False)
class Job[T]:
    """A write on its way, and its outcome once it is done."""

    write: Write[T]
    tx: Transaction | None = None
    value: T | None = None
    error: Exception | None = None
    done: bool = False
    woken: threading.Event = field(default_factory=threading.Event)
    """Set when the job is done, or when its thread is to do it."""

    def succeed(self) -> None:
        """Record that the transaction is committed; ``error`` is the job's own, if it has one."""
        self.done = True
        self.woken.set()

    def fail(self, error: Exception) -> None:
        """Record that the whole transaction failed."""
        self.error = error
        self.done = True
        self.woken.set()

    @property
    def statements(self) -> Sequence[Statement]:
        """The statements of the write."""
        return self.write.statements

    @property
    def committed(self) -> Transaction | None:
        """The transaction of a job that is done, if it has written something."""
        return None if self.error is not None or self.tx is None or self.tx.abandoned else self.tx

    def result(self) -> T:
        """Return what ``finish`` returned, or raise what it or the transaction raised."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


def run_jobs(jobs: Sequence[Job[Any]], connection: Connection) -> tuple[None, bool]:
    """Run jobs in a transaction, and return whether there is anything to commit.

    No job counts as done before the commit.
    """
    alone = len(jobs) == 1
    others = jobs
    if not alone and not dialect_of(connection).embedded:
        others = _run_plain(jobs, connection)
    has_changes = len(others) < len(jobs)
    for job in others:
        if _succeeds(job, connection, [] if alone else [_SAVE]):
            has_changes = True
        elif not alone:
            execute(connection, [_UNDO])
    return None, has_changes


def _run_plain(jobs: Sequence[Job[Any]], connection: Connection) -> Sequence[Job[Any]]:
    """Run the plain ones of the jobs; return the others, which have had no effect."""
    plain: Sequence[Job[Any]] = [job for job in jobs if job.write.is_plain is not None]
    for _ in range(_TRIES_AT_ONCE):
        succeeded = _run_at_once(plain, connection)
        if len(succeeded) == len(plain):
            break
        plain = succeeded
    else:
        plain = ()
    finished = set(plain)
    return [job for job in jobs if job not in finished]


def _run_at_once(jobs: Sequence[Job[Any]], connection: Connection) -> Sequence[Job[Any]]:
    """Run jobs in one round trip and return those that are plain; unless all are, undo all."""
    if not jobs:
        return jobs
    try:
        with translated_errors:
            plain = _send_at_once(jobs, connection)
    except DatabaseFailed:
        # Running the jobs one after the other will show which of them failed.
        plain = ()
    if len(plain) < len(jobs):
        execute(connection, [_UNDO_ALL])
    return plain


def _send_at_once(jobs: Sequence[Job[Any]], connection: Connection) -> Sequence[Job[Any]]:
    """Send jobs after one savepoint, and return those that are plain; finish them if all are."""
    sent = [_SAVE_ALL]
    for job in jobs:
        sent += (taking_revision(connection, quietly=job is not jobs[-1]), *job.statements)
    results = iter(execute(connection, sent)[1:])
    each = [(job, next(results), [next(results) for _ in job.statements]) for job in jobs]
    plain = [job for job, _, own in each if _is_plain(job.write, own)]
    if len(plain) == len(jobs):
        for job, taken, own in each:
            job.tx = _transaction(connection, job, taken)
            job.value, job.error = job.write.finish(job.tx, own), None
    return plain


def _is_plain(write: Write[Any], results: list[Result]) -> bool:
    return write.is_plain is not None and write.is_plain(results)


def _succeeds(job: Job[Any], connection: Connection, before: list[Statement]) -> bool:
    """Run a job and record its outcome; return False where the caller must undo what it did.

    Raises:
        Contention, Unavailable: the transaction of the whole group has failed.
    """
    job.tx, job.value, job.error = None, None, None
    try:
        with translated_errors:
            results = execute(connection, [*before, taking_revision(connection), *job.statements])
            taken, *own = results[len(before) :]
            tx = _transaction(connection, job, taken)
            job.value = job.write.finish(tx, own)
    except (Contention, Unavailable):
        raise
    except TopologyError as error:
        job.error = error
        return False
    job.tx = tx
    return not tx.abandoned


def _transaction(connection: Connection, job: Job[Any], taken: Result) -> Transaction:
    """Return a job's part of the transaction, from the result of `taking_revision`."""
    revision, at = taken.rows[0][:2]
    return Transaction(connection, revision, job.write.actor, moment(at), took_revision=True)
