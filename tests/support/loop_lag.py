"""Whether something holds the event loop of a test."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

TICK_S = 0.01


@contextlib.asynccontextmanager
async def loop_is_free(most_s: float) -> AsyncIterator[None]:
    """Fail if the event loop was held for so many seconds within the block."""
    worst_s = 0.0

    async def tick() -> None:
        nonlocal worst_s
        while True:
            before = time.monotonic()
            await asyncio.sleep(TICK_S)
            worst_s = max(worst_s, time.monotonic() - before)

    ticking = asyncio.create_task(tick())
    try:
        yield
        await asyncio.sleep(5 * TICK_S)
        assert worst_s < most_s
    finally:
        ticking.cancel()
