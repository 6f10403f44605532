"""Forgets old changes in the background, so that the change feed doesn't grow for ever."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from control_plane.topology import Archive, Pruned, Topology
from control_plane.topology.values.change import Change
from control_plane.topology.values.errors import TopologyError

log = logging.getLogger(__name__)
INTERVAL_S = 600.0
FIRST_S = 30.0
"""Until the first round: a start has other things to do."""
_MIN_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of the change feed: what is younger *and* among so many revisions.

    0: no such bound. What goes is first appended to ``archive``, if that is given.
    """

    days: float
    revisions: int
    archive: Path | None = None

    def prune(self, topology: Topology) -> Pruned:
        """One bounded step; raises OSError, with nothing forgotten, where the archive can't be
        written.
        """
        archive = None if self.archive is None else _archive(self.archive)
        return topology.changes.prune(older_than=self._age, keep=self._count, archive=archive)

    def prunable(self, topology: Topology) -> tuple[int, int]:
        """How many changes all steps together would forget, and up to which revision."""
        return topology.changes.prunable(older_than=self._age, keep=self._count)

    @property
    def _age(self) -> timedelta | None:
        return timedelta(days=self.days) if self.days else None

    @property
    def _count(self) -> int | None:
        return self.revisions or None


class Retention:
    """Prunes the feed of one topology every so often. Several replicas may do so at once."""

    def __init__(self, topology: Topology, kept: Kept) -> None:
        self._topology = topology
        self._kept = kept

    async def run(self) -> None:
        """Until cancelled; without a bound nothing is ever forgotten."""
        if not (self._kept.days or self._kept.revisions):
            return
        await asyncio.sleep(FIRST_S)
        while True:
            try:
                await self.round()
            except (TopologyError, OSError):
                # A database that is away, a disk that is full: nothing is lost, the next round
                # goes on.
                log.exception("old changes could not be forgotten")
            await asyncio.sleep(INTERVAL_S)

    async def round(self) -> int:
        """Forget all that is old by now, with pauses for other writers; how many changes."""
        loop = asyncio.get_running_loop()
        total = 0
        while True:
            started = loop.time()
            step = await run_in_threadpool(self._kept.prune, self._topology)
            total += step.rows
            if not step.more:
                break
            # At most half of the time of the one writer.
            await asyncio.sleep(max(_MIN_PAUSE_S, loop.time() - started))
        if total:
            log.info("forgot %d changes, those up to revision %d", total, step.oldest)
        return total


def _archive(path: Path) -> Archive:
    def append(changes: Sequence[Change]) -> None:
        # On disk before it is forgotten; what a crash in between leaves stands twice.
        with path.open("a", encoding="utf-8") as file:
            file.writelines(
                json.dumps(change.as_dict(), ensure_ascii=False) + "\n" for change in changes
            )
            file.flush()
            os.fsync(file.fileno())

    return append
