"""Writes the newest acknowledged state to disk, outside the event loop, and not too often."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from control_plane.edge_agent.metrics import AgentMetrics
from control_plane.edge_agent.store import Kept, OlderRevision, SnapshotStore

log = logging.getLogger(__name__)
INTERVAL_S = 0.2
"""Between two writes; what comes in between waits, and only its newest is written."""
RETRY_S = 5.0
"""Until a write that failed is tried again, if nothing newer comes before."""


class Saver:
    """One write at a time; `offer` never waits."""

    def __init__(self, store: SnapshotStore, metrics: AgentMetrics) -> None:
        self._store = store
        self._metrics = metrics
        self._due: Callable[[], Kept | None] | None = None
        self._wake = asyncio.Event()

    def offer(self, newest: Callable[[], Kept | None]) -> None:
        """Something was acknowledged: ``newest`` gives what to keep, when it is written."""
        self._due = newest
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._wake.wait()
            if not await self._write():
                try:
                    async with asyncio.timeout(RETRY_S):
                        await self._wake.wait()
                except TimeoutError:
                    self._wake.set()
            await asyncio.sleep(INTERVAL_S)

    async def finish(self) -> None:
        """Write what is still due."""
        if self._wake.is_set():
            await self._write()

    async def _write(self) -> bool:
        """Write what is due; False if the disk would not have it."""
        self._wake.clear()
        kept = self._due() if self._due is not None else None
        before = self._store.newest
        if kept is None or (before is not None and _same(kept, before)):
            return True
        try:
            path = await asyncio.to_thread(self._store.save, kept)
        except OSError as error:
            self._metrics.save_failures.inc()
            self._metrics.unsaved.set(1)
            log.error("the snapshot of revision %d can't be written: %s", kept.revision, error)  # noqa: TRY400
            return False
        except OlderRevision as error:
            self._metrics.older.inc()
            log.error("a snapshot is not kept: %s", error)  # noqa: TRY400
            return True
        self._metrics.unsaved.set(0)
        self._metrics.revision.set(kept.revision)
        self._metrics.saved_at.set(time.time())
        log.info("revision %d is on disk: %s", kept.revision, path)
        return True


def _same(one: Kept, other: Kept) -> bool:
    return one.group == other.group and one.snapshot.same_content(other.snapshot)
