"""Claims by bucket for metrics: counting reads the whole table, so seldom where that is slow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

SHARE = 0.01
"""Of the time at most this much goes into counting: 3 s of it are followed by 5 minutes without."""
PATIENCE_S = 1.0
"""How long a scrape waits for a count; then it gets the one before, the first time none."""


class ClaimCounts:
    """The newest count, made anew when the last one has paid off. For one event loop."""

    def __init__(self, count: Callable[[], Mapping[str, int]], clock: Callable[[], float]) -> None:
        self._count = count
        self._clock = clock
        self._newest: Mapping[str, int] = {}
        self._due = clock()
        self._counting: asyncio.Task[None] | None = None

    async def get(self) -> Mapping[str, int]:
        """Claims by bucket, as of lately."""
        if self._counting is None and self._clock() >= self._due:
            self._counting = asyncio.create_task(self._refresh())
        if self._counting is not None:
            done, _ = await asyncio.wait({self._counting}, timeout=PATIENCE_S)
            for task in done:
                self._counting = None
                task.result()
        return self._newest

    async def close(self) -> None:
        """Wait for a count that is under way: its thread uses the database."""
        if self._counting is not None:
            await asyncio.gather(self._counting, return_exceptions=True)

    async def _refresh(self) -> None:
        started = self._clock()
        self._newest = await asyncio.to_thread(self._count)
        now = self._clock()
        self._due = now + (now - started) / SHARE
