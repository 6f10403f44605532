"""Writes the newest acknowledged state to disk, in a thread, and not too often."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from control_plane.edge_agent.metrics import AgentMetrics
from control_plane.edge_agent.saved_snapshot import SavedSnapshot
from control_plane.edge_agent.store import OlderRevision, SnapshotStore

log = logging.getLogger(__name__)
INTERVAL_S = 0.2
"""The pause after a write. What is offered meanwhile waits, and only the newest is written."""
RETRY_S = 5.0
"""The pause after a write that failed, unless something newer is offered before."""


class Saver:
    """Writes one snapshot at a time. `offer` never waits."""

    def __init__(self, store: SnapshotStore, metrics: AgentMetrics) -> None:
        self._store = store
        self._metrics = metrics
        self._newest: Callable[[], SavedSnapshot | None] | None = None
        self._wake = asyncio.Event()

    def offer(self, newest: Callable[[], SavedSnapshot | None]) -> None:
        """Ask for the newest state to be written.

        Args:
            newest: Called at the time of the write; returns None if nothing is fit to be written.
        """
        self._newest = newest
        self._wake.set()

    async def run(self) -> None:
        """Write what is offered, until cancelled.

        What was not foreseen is raised; what was to be written is then written by the next call.
        """
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
        """Write what was offered and not written yet, if it can be written."""
        if not self._wake.is_set():
            return
        try:
            await self._write()
        except Exception:
            log.exception("what Envoy has acknowledged last is not on disk")

    async def _write(self) -> bool:
        """Write what was offered last; return False if that should be tried again."""
        try:
            return await self._try_to_write()
        except Exception:
            self._metrics.save_failures.inc()
            self._metrics.unsaved.set(1)
            self._wake.set()
            raise

    async def _try_to_write(self) -> bool:
        self._wake.clear()
        snapshot = self._newest() if self._newest is not None else None
        on_disk = self._store.newest
        if snapshot is None or (on_disk is not None and _same(snapshot, on_disk)):
            return True
        try:
            path = await asyncio.to_thread(self._store.save, snapshot)
        except OSError as error:
            self._metrics.save_failures.inc()
            self._metrics.unsaved.set(1)
            log.error("the snapshot of revision %d can't be written: %s", snapshot.revision, error)  # noqa: TRY400
            return False
        except OlderRevision as error:
            self._metrics.older.inc()
            log.error("a snapshot is not saved: %s", error)  # noqa: TRY400
            return True
        self._metrics.unsaved.set(0)
        self._metrics.revision.set(snapshot.revision)
        self._metrics.saved_at.set(time.time())
        log.info("revision %d is on disk: %s", snapshot.revision, path)
        return True


def _same(one: SavedSnapshot, other: SavedSnapshot) -> bool:
    return one.group == other.group and one.snapshot.same_content(other.snapshot)
