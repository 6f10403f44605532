"""The moment of a commit, from which benchmarks count."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from control_plane.topology import Topology


@contextmanager
def commit_time(topology: Topology) -> Iterator[asyncio.Future[float]]:
    """Yield a future for the time of the next commit, by `time.perf_counter`."""
    loop = asyncio.get_running_loop()
    committed: asyncio.Future[float] = loop.create_future()

    def settle(now: float) -> None:
        if not committed.done():
            committed.set_result(now)

    def note(_: int) -> None:
        # Another thread commits.
        loop.call_soon_threadsafe(settle, time.perf_counter())

    unsubscribe = topology.subscribe(note)
    try:
        yield committed
    finally:
        unsubscribe()
