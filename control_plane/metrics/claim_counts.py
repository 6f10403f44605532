"""Counts claims by bucket for metrics.

Counting reads the whole table: three seconds for ten million claims. So the slower a count is, the
more seldom it is repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from control_plane.topology.values.errors import TopologyError

SHARE = 0.01
"""The share of time that may go into counting: after a count of 3 s there is none for 5 minutes."""
PATIENCE_S = 1.0
"""How long a scrape waits for a count. Then it gets the previous one; before the first, none."""


class ClaimCounts:
    """The newest count, which is repeated when `SHARE` allows it. For one event loop."""

    def __init__(self, count: Callable[[], Mapping[str, int]], clock: Callable[[], float]) -> None:
        self._count = count
        self._clock = clock
        self.newest: Mapping[str, int] = {}
        """The number of claims by bucket, when they were counted last."""
        self._due = clock()
        self._counting: asyncio.Task[None] | None = None

    async def get(self) -> Mapping[str, int]:
        """Return the number of claims by bucket, as of the newest count that could be made."""
        if self._counting is None and self._clock() >= self._due:
            self._counting = asyncio.create_task(self._refresh())
        if self._counting is not None:
            done, _ = await asyncio.wait({self._counting}, timeout=PATIENCE_S)
            for task in done:
                self._counting = None
                with contextlib.suppress(TopologyError):
                    task.result()
        return self.newest

    async def close(self) -> None:
        """Wait for a count that is under way, because its thread uses the database."""
        if self._counting is not None:
            await asyncio.gather(self._counting, return_exceptions=True)

    async def _refresh(self) -> None:
        started = self._clock()
        self.newest = await asyncio.to_thread(self._count)
        now = self._clock()
        self._due = now + (now - started) / SHARE
