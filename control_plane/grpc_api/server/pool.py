"""Blocking calls run here: in so many threads, with so many waiting, and none too late."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from control_plane.grpc_api.wire.status import CallError, Code


class CallPool:
    """A bounded thread pool. At most ``max_calls`` calls are running or waiting at once."""

    def __init__(self, *, threads: int, max_calls: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="topology-grpc")
        self._max_calls = max_calls
        self._slots = threading.BoundedSemaphore(max_calls)

    async def run[T](self, work: Callable[[], T], remaining_s: float | None) -> T:
        """Run ``work`` in a thread.

        A caller who leaves meanwhile does not stop it once it has begun: it is a transaction.

        Raises:
            CallError: RESOURCE_EXHAUSTED where too many calls are under way, DEADLINE_EXCEEDED
                where ``remaining_s`` passed before a thread was free. Then nothing was begun.
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
        """Finish what has begun and what waits; nothing new is taken."""
        await asyncio.to_thread(self._pool.shutdown, wait=True)


def deadline_passed() -> CallError:
    """The call's deadline passed before its work began."""
    return CallError(Code.DEADLINE_EXCEEDED, "the deadline passed before the work was begun")
