"""Deletes old changes in the background, so that the change feed doesn't grow for ever."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from io import FileIO
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from control_plane.topology import Archive, Pruned, Topology
from control_plane.topology.values.change import Change
from control_plane.topology.values.errors import TopologyError

log = logging.getLogger(__name__)
INTERVAL_S = 600.0
"""The pause between two rounds."""
FIRST_S = 30.0
"""The pause before the first round: a process that starts has other things to do."""
_MIN_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """Which changes stay: those that are younger than ``days`` *and* among the last ``revisions``.

    0 means that there is no such bound.
    """

    days: float
    revisions: int
    archive: Path | None = None
    """The file to which changes are appended before they are deleted, as lines of JSON."""

    @property
    def is_bounded(self) -> bool:
        """Whether anything is ever deleted."""
        return bool(self.days or self.revisions)

    def prune(self, topology: Topology) -> Pruned:
        """Delete a bounded number of old changes; call again while there are ``more``.

        Raises:
            OSError: the archive can't be written; nothing was deleted.
        """
        archive = None if self.archive is None else _appending_to(self.archive)
        return topology.changes.prune(older_than=self._age, keep=self._count, archive=archive)

    def prunable(self, topology: Topology) -> tuple[int, int]:
        """Return how many changes would be deleted now, and up to which revision."""
        return topology.changes.prunable(older_than=self._age, keep=self._count)

    @property
    def _age(self) -> timedelta | None:
        return timedelta(days=self.days) if self.days else None

    @property
    def _count(self) -> int | None:
        return self.revisions or None


class ChangeRetention:
    """Prunes the change feed of one topology regularly. Several replicas may do so at once."""

    def __init__(self, topology: Topology, policy: RetentionPolicy) -> None:
        self._topology = topology
        self._policy = policy

    async def run(self) -> None:
        """Prune until cancelled; return at once if the policy has no bound."""
        if not self._policy.is_bounded:
            return
        await asyncio.sleep(FIRST_S)
        while True:
            try:
                await self.round()
            except (TopologyError, OSError):
                # The database is away, or a disk is full. Nothing is lost: the next round goes on.
                log.exception("old changes could not be deleted; the next round tries again")
            await asyncio.sleep(INTERVAL_S)

    async def round(self) -> int:
        """Delete all changes that are old by now, and return how many they were.

        It pauses after each step for as long as the step took, so that it holds the one writer for
        half of the time at most.
        """
        loop = asyncio.get_running_loop()
        total = 0
        while True:
            started = loop.time()
            step = await run_in_threadpool(self._policy.prune, self._topology)
            total += step.rows
            if not step.more:
                break
            await asyncio.sleep(max(_MIN_PAUSE_S, loop.time() - started))
        if total:
            log.info("deleted %d old changes, up to revision %d", total, step.oldest)
        return total


def _appending_to(path: Path) -> Archive:
    def append(changes: Sequence[Change]) -> None:
        # They are on disk before they are deleted. A crash in between leaves them in the file
        # twice.
        lines = [json.dumps(change.as_dict(), ensure_ascii=False) + "\n" for change in changes]
        with path.open("ab", buffering=0) as file:
            end = file.tell()
            try:
                _write_all(file, "".join(lines).encode())
                os.fsync(file.fileno())
            except OSError:
                # Half a line on a full disk would spoil the line after it.
                file.truncate(end)
                raise

    return append


def _write_all(file: FileIO, content: bytes) -> None:
    """Write bytes; a write to a disk that becomes full writes some of them."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]
