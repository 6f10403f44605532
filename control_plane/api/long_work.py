"""Runs what computes long in threads, a few at once, and as many for one caller as is fair.

The problem: to lint the largest ruleset takes a quarter of a second of the processor, and to write
the largest topology as JSON as long. On the event loop all streams and calls would wait for that.
In threads they need not; but each thread that computes wants the interpreter's lock, and the loop
waits up to 5 ms for each of them whenever it wants that lock back. With 40 such threads it would
stand still as well.

The idea: such work runs in `THREADS` threads. What comes meanwhile waits, within bounds, and what
is over the bounds is refused with 503, so that one caller can't take the place of all others.

Such work must not hold the lock for long by itself, as one call into C does that reads 10 MB of
JSON: `body_limit` bounds what is read, and `rendering` writes piece by piece.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Request

from control_plane.api.auth import CALLER
from control_plane.api.problem import ProblemError

THREADS = 3
MAX_UNDER_WAY = 64
"""Work of all callers that runs or waits."""
MAX_OF_CALLER = 16
FREE_THREAD_S = 10.0
"""How long work waits for a thread at most."""


class LongWork:
    """The threads for work that computes long. For one event loop."""

    def __init__(self, refused: Callable[[str], None], threads: int = THREADS) -> None:
        """Make threads when they are needed.

        Args:
            refused: Is called with ``busy`` for each piece of work that is refused.
            threads: How many work at once.
        """
        self._refused = refused
        self._limiter = CapacityLimiter(threads)
        self._under_way: Counter[str] = Counter()

    async def run[T](self, caller: str, work: Callable[[], T]) -> T:
        """Return what ``work()`` returns, which may block and compute.

        Raises:
            ProblemError: (503) Too much work is under way, of this caller or of all.
        """
        mine, all_of_it = self._under_way[caller], self._under_way.total()
        if mine >= MAX_OF_CALLER or all_of_it >= MAX_UNDER_WAY:
            raise self._busy(f"{mine} such requests of yours and {all_of_it} in all are under way")
        self._under_way[caller] += 1
        try:
            return await self._in_turn(work)
        finally:
            self._under_way[caller] -= 1
            if not self._under_way[caller]:
                del self._under_way[caller]

    async def _in_turn[T](self, work: Callable[[], T]) -> T:
        borrower = object()
        try:
            async with asyncio.timeout(FREE_THREAD_S):
                await self._limiter.acquire_on_behalf_of(borrower)
        except TimeoutError:
            raise self._busy(f"no thread was free for {FREE_THREAD_S:.0f} s") from None
        try:
            # The slot is this task's already, so the thread itself is not limited.
            return await to_thread.run_sync(work, limiter=CapacityLimiter(1))
        finally:
            self._limiter.release_on_behalf_of(borrower)

    def _busy(self, why: str) -> ProblemError:
        self._refused("busy")
        return ProblemError(503, f"{why}: try again later", code="busy")


@dataclass(frozen=True, slots=True)
class CallersWork:
    """The threads for long work, for the caller of one request."""

    work: LongWork
    caller: str

    async def __call__[T](self, work: Callable[[], T]) -> T:
        """Return what ``work()`` returns; raise `ProblemError` (503) if too much is under way."""
        return await self.work.run(self.caller, work)


async def _work(request: Request) -> CallersWork:
    token: str = request.scope[CALLER].id
    address = request.client.host if request.client else ""
    return CallersWork(request.app.state.long_work, token or address)


TheWork = Annotated[CallersWork, Depends(_work)]
