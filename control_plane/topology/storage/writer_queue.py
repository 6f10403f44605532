"""Decides who writes next: one thread at a time, which writes for the others that wait.

Writes can't run side by side, because each takes the next revision under one lock. A lock alone
would let each waiting thread write and commit by itself, one disk flush each. Here a thread that
finds the lock taken leaves its write in a queue. Whoever gets the lock next takes the head of the
queue as a group and runs it in one transaction:

    thread 1   writes a ──────────────▶ done
    thread 2   queues b ┄┄┄┄┄┄┄┄┄┄┄┄┄▶ runs b and c together ─────▶ done
    thread 3   queues c ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄▶ done, by thread 2

The thread that leaves the lock wakes the head of the queue only: the others' writes are done by
then, or their turn comes later. There is no thread of its own for writing, so a lone write costs no
switch between threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from control_plane.topology.storage.group_commit import MAX_JOBS, MAX_STATEMENTS, Job, Write


class WriterQueue:
    """The lock that a writer holds, and the writes that wait for it. Thread-safe."""

    def __init__(self, run_group: Callable[[Sequence[Job[Any]]], None]) -> None:
        """``run_group`` runs jobs in one transaction. They are done when it returns or raises."""
        self._run_group = run_group
        self._writer = threading.Lock()
        self._queueing = threading.Lock()
        self._waiting: list[Job[Any]] = []

    @property
    def length(self) -> int:
        """How many writes wait."""
        return len(self._waiting)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock, for a write that can't go into a group."""
        self._writer.acquire()
        try:
            yield
        finally:
            self._pass_on()

    def carry_out(self, writes: Sequence[Write[Any]]) -> Sequence[Job[Any]]:
        """Queue writes and return when each is done; `Job.result` returns or raises its outcome."""
        woken = threading.Event()
        jobs = [Job(write, woken=woken) for write in writes]
        with self._queueing:
            for job in jobs:
                enqueue(self._waiting, job)
        for job in jobs:
            self._see_done(job)
        return jobs

    def _see_done(self, job: Job[Any]) -> None:
        while not job.done:
            # Either the lock is free, or its holder will wake the queue's head when it leaves.
            if self._writer.acquire(blocking=False):
                try:
                    if not job.done:
                        self._run_group(self._take_group(job))
                finally:
                    self._pass_on()
            else:
                job.woken.wait()
                job.woken.clear()

    def _take_group(self, first: Job[Any]) -> Sequence[Job[Any]]:
        """Take a job and those at the queue's head out of the queue."""
        with self._queueing:
            self._waiting.remove(first)
            others = head_of(self._waiting, len(first.statements))
            del self._waiting[: len(others)]
        return [first, *others]

    def _pass_on(self) -> None:
        """Release the lock, and wake the thread that has waited longest."""
        self._writer.release()
        with self._queueing:
            if self._waiting:
                self._waiting[0].woken.set()


def enqueue(queue: list[Job[Any]], job: Job[Any]) -> None:
    """Append a job, or put one that goes ahead behind the last of its kind.

    Those that go ahead can't keep the others waiting for ever: each ends what one of the others
    began.
    """
    at = len(queue)
    if job.write.ahead:
        at = next((place for place, other in enumerate(queue) if not other.write.ahead), at)
    queue.insert(at, job)


def head_of(queue: Sequence[Job[Any]], statements: int) -> Sequence[Job[Any]]:
    """Return the jobs at the queue's head that fit into a group beside a job of ``statements``."""
    for at, job in enumerate(queue[: MAX_JOBS - 1]):
        statements += len(job.statements)
        if statements > MAX_STATEMENTS:
            return queue[:at]
    return queue[: MAX_JOBS - 1]
