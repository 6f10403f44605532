"""The newest committed revision, asked of the source of truth by many nodes at once.

The problem: a thousand nodes that reconnect at once each need to know the newest revision, and a
read for each would load the database when it is busiest. One node may not use the answer of a read
that began before the node came: another replica may have sent it something newer in between. The
idea: at most one read runs, and those who ask meanwhile share the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

GATHER_S = 0.01
"""How long questions are gathered before one read answers them."""


class RevisionUnknown(Exception):
    """The source of truth does not answer."""


class RevisionProbe:
    """Reads the newest committed revision for all who ask. For one event loop."""

    def __init__(self, read: Callable[[], int]) -> None:
        """``read`` reads the revision, in a thread. It may raise `RevisionUnknown`."""
        self._read = read
        self._running: asyncio.Task[int] | None = None
        self._next: asyncio.Task[int] | None = None

    async def newest_revision(self) -> int:
        """Return the newest revision at some moment after this call.

        Raises:
            RevisionUnknown: The source of truth does not answer.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._read_after(self._running))
        return await asyncio.shield(self._next)

    async def _read_after(self, running: asyncio.Task[int] | None) -> int:
        if running is not None:
            await asyncio.wait({running})
        # A thousand nodes do not come in one turn of the loop.
        await asyncio.sleep(GATHER_S)
        self._running, self._next = self._next, None
        return await asyncio.to_thread(self._read)

    async def close(self) -> None:
        """Wait for reads that have begun: a thread uses a connection that is closed next.

        Nobody may ask any more.
        """
        reads = {task for task in (self._running, self._next) if task is not None}
        if reads:
            await asyncio.wait(reads)
