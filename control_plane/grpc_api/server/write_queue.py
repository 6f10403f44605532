"""Updates of claims: what waits is prepared in one thread and written together.

A thread for each call, woken to prepare its statements, again when it is written and then to wake
the loop, cost more processor time than the write. So few threads take all that waits, in turn:
while one waits for the database, another prepares what came meanwhile.
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

from control_plane.grpc_api.wire.status import CallError, Code
from control_plane.topology.storage.group_commit import MAX_JOBS, Job, Write

THREADS = 2
CarryOut = Callable[[Sequence[Write[Any]]], Sequence[Job[Any]]]


@dataclass(frozen=True, slots=True)
class QueuedWrite:
    """A write, and the answer to the client once it is done."""

    write: Write[Any]
    answer: Callable[[Any], Message]


@dataclass(slots=True, eq=False)
class _Call:
    prepare: Callable[[], QueuedWrite]
    deadline: float | None
    settles: bool
    answered: asyncio.Future[Message]


_Outcome = Message | Exception


class WriteQueue:
    """Carries out updates in groups. For one event loop.

    At most ``max_calls`` that begin something are running or waiting at once, and as many that
    settle what was begun: these go first, and to refuse them in favour of more beginnings would
    only add to the load.
    """

    def __init__(self, carry_out: CarryOut, *, max_calls: int, threads: int = THREADS) -> None:
        self._carry_out = carry_out
        self._max_calls = max_calls
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="topology-grpc-updates")
        self._lock = threading.Lock()
        self._beginning: deque[_Call] = deque()
        self._settling: deque[_Call] = deque()
        self._working = 0
        """Threads that take what waits; one that finds nothing ends."""
        self._under_way = {False: 0, True: 0}
        self._closed = False

    async def run(
        self, prepare: Callable[[], QueuedWrite], remaining_s: float | None, *, settles: bool
    ) -> Message:
        """The answer to an update. ``prepare`` is called in a thread and does not block.

        A caller who leaves meanwhile does not stop it once it has begun: it is a transaction.

        Raises:
            CallError: RESOURCE_EXHAUSTED where too many are under way, DEADLINE_EXCEEDED where
                ``remaining_s`` passed before it was begun. Then nothing was.
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
            start = self._working < self._threads
            self._working += start
        if start:
            self._pool.submit(self._work, loop)
        return await call.answered

    async def close(self) -> None:
        """Finish what has begun and what waits; nothing new is taken."""
        self._closed = True
        await asyncio.to_thread(self._pool.shutdown, wait=True)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """Carry out what waits until there is nothing. Each group wakes the loop once."""
        while calls := self._taken():
            loop.call_soon_threadsafe(self._tell, self._done(calls))

    def _taken(self) -> list[_Call]:
        with self._lock:
            calls: list[_Call] = []
            for waiting in (self._settling, self._beginning):
                while waiting and len(calls) < MAX_JOBS:
                    calls.append(waiting.popleft())
            if not calls:
                self._working -= 1
            return calls

    def _done(self, calls: list[_Call]) -> list[tuple[_Call, _Outcome | None]]:
        """What became of each; None of those that nobody waits for, which are not begun."""
        found: list[tuple[_Call, _Outcome | None]] = []
        ready: list[tuple[_Call, QueuedWrite]] = []
        for call in calls:
            if call.answered.cancelled():
                found.append((call, None))
                continue
            if call.deadline is not None and time.monotonic() >= call.deadline:
                found.append((call, deadline_passed()))
                continue
            try:
                ready.append((call, call.prepare()))
            except Exception as error:  # noqa: BLE001 - its caller raises it
                found.append((call, error))
        return found + self._written(ready)

    def _written(
        self, ready: list[tuple[_Call, QueuedWrite]]
    ) -> list[tuple[_Call, _Outcome | None]]:
        try:
            jobs = self._carry_out([update.write for _, update in ready])
        except Exception as error:  # noqa: BLE001 - each caller raises it
            return [(call, error) for call, _ in ready]
        return [
            (call, _outcome(update, job)) for (call, update), job in zip(ready, jobs, strict=True)
        ]

    def _tell(self, outcomes: list[tuple[_Call, _Outcome | None]]) -> None:
        for call, outcome in outcomes:
            self._under_way[call.settles] -= 1
            if call.answered.done():
                continue
            if isinstance(outcome, Exception):
                call.answered.set_exception(outcome)
            elif outcome is not None:
                call.answered.set_result(outcome)


def _outcome(update: QueuedWrite, job: Job[Any]) -> _Outcome:
    try:
        return update.answer(job.result())
    except Exception as error:  # noqa: BLE001 - its caller raises it
        return error
