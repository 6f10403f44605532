"""What the newest committed revision is, asked of the source of truth by many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

GATHER_S = 0.01
"""How long questions are gathered before they are answered by one read."""


class RevisionUnknown(Exception):
    """The source of truth does not answer."""


class Newest:
    """Reads the newest committed revision; those who ask at the same time share one read.

    A read counts only for those who asked before it began: what they were told elsewhere before
    they came was committed by then. For one event loop.
    """

    def __init__(self, read: Callable[[], int]) -> None:
        self._read = read
        """Runs in a thread; raises `RevisionUnknown`."""
        self._running: asyncio.Task[int] | None = None
        self._next: asyncio.Task[int] | None = None

    async def revision(self) -> int:
        """The newest revision at some moment after this call; raises `RevisionUnknown`."""
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._running))
        return await asyncio.shield(self._next)

    async def _after(self, running: asyncio.Task[int] | None) -> int:
        if running is not None:
            await asyncio.wait({running})
        # A thousand nodes do not come in one turn of the loop.
        await asyncio.sleep(GATHER_S)
        self._running, self._next = self._next, None
        return await asyncio.to_thread(self._read)
