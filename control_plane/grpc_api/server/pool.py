"""A bounded pool of threads for calls that block: transactions, and look-ups on PostgreSQL."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from control_plane.grpc_api.wire.status import CallError, Code


class CallPool:
    """A thread pool in which at most ``max_calls`` calls run or wait at once."""

    def __init__(self, *, threads: int, max_calls: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="topology-grpc")
        self._max_calls = max_calls
        self._slots = threading.BoundedSemaphore(max_calls)

    async def run[T](self, work: Callable[[], T], remaining_s: float | None) -> T:
        """Run ``work`` in a thread and return what it returns.

        If the caller is cancelled, work that waits is dropped. Work that has begun goes on to its
        end, since it is a transaction.

        Args:
            work: A function that may block.
            remaining_s: Seconds until the client gives up; None if it never does.

        Raises:
            CallError: The work was not begun. RESOURCE_EXHAUSTED: too many calls run or wait.
                DEADLINE_EXCEEDED: ``remaining_s`` passed before a thread was free. UNAVAILABLE:
                the pool is closed.
        """
        deadline = None if remaining_s is None else time.monotonic() + remaining_s

        def begin() -> T:
            if deadline is not None and time.monotonic() >= deadline:
                raise deadline_passed()
            return work()

        if not self._slots.acquire(blocking=False):
            text = f"{self._max_calls} calls are under way: try again later"
            raise CallError(Code.RESOURCE_EXHAUSTED, text)
        try:
            future = self._pool.submit(begin)
        except RuntimeError:
            self._slots.release()
            raise CallError(Code.UNAVAILABLE, "the server is shutting down") from None
        future.add_done_callback(self._release)
        return await asyncio.wrap_future(future)

    def _release(self, _: Future[Any]) -> None:
        self._slots.release()

    async def close(self) -> None:
        """Refuse new calls, and finish those that run or wait."""
        await asyncio.to_thread(self._pool.shutdown, wait=True)


def deadline_passed() -> CallError:
    """Return the error of a call whose deadline passed before its work was begun."""
    return CallError(Code.DEADLINE_EXCEEDED, "the deadline passed before the work was begun")
