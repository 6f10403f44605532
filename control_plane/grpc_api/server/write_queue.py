"""The queue of BeginUpdate, CommitUpdate and RollbackUpdate: calls that wait are written together.

The problem: with a thread for each call, three wake-ups (to prepare the statements, after the
commit, and of the event loop) took more processor time than the write itself.

The idea: calls queue up, and a few threads (`THREADS`) each take everything that waits. A thread
prepares the statements of all its calls, has the store write them in one group, and wakes the event
loop once with all outcomes. While one thread waits for the database, another prepares what has
come in the meantime. A thread that finds the queue empty ends, and the next call starts one.

An example with one thread. While it writes the update A, there come the beginnings B and C and
the commit D. Its next group is ``[D, B, C]``: calls that settle a lease go first. If B's statements
fail, B alone gets the error.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from control_plane.grpc_api.server.pool import deadline_passed
from control_plane.grpc_api.wire.status import CallError, Code
from control_plane.topology.storage.group_commit import MAX_JOBS, Job, Write

THREADS = 2
CarryOut = Callable[[Sequence[Write[Any]]], Sequence[Job[Any]]]


@dataclass(frozen=True, slots=True)
class QueuedWrite:
    """A write for the store, and the function that makes the client's answer of its result."""

    write: Write[Any]
    answer: Callable[[Any], Message]


@dataclass(slots=True, eq=False)
class _Call:
    prepare: Callable[[], QueuedWrite]
    deadline: float | None
    settles: bool
    answer: asyncio.Future[Message]


_Outcome = Message | Exception
_CallOutcome = tuple[_Call, _Outcome | None]
"""A call and what became of it; None if nobody waits for it any more, so that it was not begun."""


class WriteQueue:
    """Writes calls in groups. It serves one event loop.

    At most ``max_calls`` calls that begin a lease run or wait at once, and as many that settle one.
    Settling calls go first and have a bound of their own, since refusing them in favour of more
    beginnings would only leave more leases open.
    """

    def __init__(self, carry_out: CarryOut, *, max_calls: int, threads: int = THREADS) -> None:
        self._carry_out = carry_out
        self._max_calls = max_calls
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="topology-grpc-updates")
        self._lock = threading.Lock()
        self._beginning: deque[_Call] = deque()
        self._settling: deque[_Call] = deque()
        self._active_threads = 0
        """Threads that take calls from the queue. A thread that finds none ends."""
        self._under_way = {False: 0, True: 0}
        """How many calls run or wait, by `_Call.settles`."""
        self._closed = False

    async def run(
        self, prepare: Callable[[], QueuedWrite], remaining_s: float | None, *, settles: bool
    ) -> Message:
        """Have a call written, and return its answer.

        If the caller is cancelled, a call that waits is dropped. One that has begun goes on to its
        end, since it is a transaction.

        Args:
            prepare: Makes the write. It is called in a thread and must not block.
            remaining_s: Seconds until the client gives up; None if it never does.
            settles: Whether the call ends a lease (it goes first) or begins one.

        Raises:
            CallError: Nothing was begun. RESOURCE_EXHAUSTED: too many calls run or wait.
                DEADLINE_EXCEEDED: ``remaining_s`` passed. UNAVAILABLE: the queue is closed.
            Exception: Whatever ``prepare`` or the write raised.
        """
        if self._closed:
            raise CallError(Code.UNAVAILABLE, "the server is shutting down")
        if self._under_way[settles] >= self._max_calls:
            text = f"{self._max_calls} calls are under way: try again later"
            raise CallError(Code.RESOURCE_EXHAUSTED, text)
        self._under_way[settles] += 1
        loop = asyncio.get_running_loop()
        deadline = None if remaining_s is None else time.monotonic() + remaining_s
        call = _Call(prepare, deadline, settles, loop.create_future())
        with self._lock:
            (self._settling if settles else self._beginning).append(call)
            start = self._active_threads < self._threads
            self._active_threads += start
        if start:
            self._pool.submit(self._work, loop)
        return await call.answer

    async def close(self) -> None:
        """Refuse new calls, and finish those that run or wait."""
        self._closed = True
        await asyncio.to_thread(self._pool.shutdown, wait=True)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """Write one group after another until the queue is empty, and wake the loop after each."""
        while calls := self._next_group():
            loop.call_soon_threadsafe(self._answer, self._outcomes(calls))

    def _next_group(self) -> list[_Call]:
        with self._lock:
            calls: list[_Call] = []
            for waiting in (self._settling, self._beginning):
                while waiting and len(calls) < MAX_JOBS:
                    calls.append(waiting.popleft())
            if not calls:
                self._active_threads -= 1
            return calls

    def _outcomes(self, calls: list[_Call]) -> list[_CallOutcome]:
        """Prepare and write a group, and return the outcome of each call."""
        outcomes: list[_CallOutcome] = []
        ready: list[tuple[_Call, QueuedWrite]] = []
        for call in calls:
            if call.answer.cancelled():
                outcomes.append((call, None))
                continue
            if call.deadline is not None and time.monotonic() >= call.deadline:
                outcomes.append((call, deadline_passed()))
                continue
            try:
                ready.append((call, call.prepare()))
            except Exception as error:  # noqa: BLE001 - its caller raises it
                outcomes.append((call, error))
        return outcomes + self._written(ready)

    def _written(self, ready: list[tuple[_Call, QueuedWrite]]) -> list[_CallOutcome]:
        try:
            jobs = self._carry_out([queued.write for _, queued in ready])
        except Exception as error:  # noqa: BLE001 - each caller raises it
            return [(call, error) for call, _ in ready]
        return [
            (call, _outcome(queued, job)) for (call, queued), job in zip(ready, jobs, strict=True)
        ]

    def _answer(self, outcomes: list[_CallOutcome]) -> None:
        """Hand the outcomes to those who wait for them. The event loop calls this."""
        for call, outcome in outcomes:
            self._under_way[call.settles] -= 1
            if call.answer.done():
                continue
            if isinstance(outcome, Exception):
                call.answer.set_exception(outcome)
            elif outcome is not None:
                call.answer.set_result(outcome)


def _outcome(queued: QueuedWrite, job: Job[Any]) -> _Outcome:
    try:
        return queued.answer(job.result())
    except Exception as error:  # noqa: BLE001 - its caller raises it
        return error
