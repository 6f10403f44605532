"""The table of owners of one agent: its journal, and the copy on disk.

The journal's base lies in the file ``owners.map``, and its changes both there and in memory. What
is written is written in a thread: a base that comes from the control plane, the newest changes, or
a new base that is made of the old one and many changes.

A disk that takes nothing harms no reader. A base then stays in memory, the file stays what it was,
and both are tried again every `RETRY_S`.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from control_plane.edge_agent.metrics import MapMetrics
from control_plane.owners.base import Base, begin_frame
from control_plane.owners.compaction import latest, merged
from control_plane.owners.frames import Frame, decode, revision_of
from control_plane.owners.journal import Journal
from control_plane.owners.journal_file import BadJournalFile, JournalFile, load
from control_plane.owners.stored_frames import DamagedFile, Spool

log = logging.getLogger(__name__)
FILE = "owners.map"
RENEW_AT_BYTES = 8 << 20
"""Of changes since the base, in memory and on disk, after which a new base is made. As many bytes
of older ones are kept in memory."""
INTERVAL_S = 0.5
"""The pause after a write. What comes meanwhile is written together."""
RETRY_S = 10.0
"""The pause after a write that failed."""
_WRITE_BYTES = 4 << 20
_RECEIVED, _RENEWED = ".received", ".renewed"
"""What is behind the name of a file that is not finished."""
_YIELD_S = 0.000_5
"""How long the making of a new base pauses after each frame, so that other threads get to run."""


class MapStore:
    """The table of owners, for its readers and on disk. For one event loop."""

    def __init__(self, directory: Path, metrics: MapMetrics) -> None:
        """Know nothing yet.

        Args:
            directory: The agent's own, which it has locked.
            metrics: Are told what is in memory and on disk.
        """
        self._path = directory / FILE
        self._metrics = metrics
        self.journal = Journal(RENEW_AT_BYTES)
        self.on_change: Callable[[], None] = lambda: None
        """Is called when readers are to be sent something."""
        self.on_damage: Callable[[], None] = lambda: None
        """Is called when the base on disk can't be read any more."""
        self._file: JournalFile | None = None
        """The file to which changes are added; None: the file is not this journal's."""
        self._position = 0
        """In the journal: what is before is in the file."""
        self._writing = asyncio.Lock()
        """Is held while the file is changed or exchanged."""
        self._wake = asyncio.Event()
        self._loaded = False
        self._damaged_base = 0
        """The number of the base that was damaged last."""
        self._trouble = ""
        """Why the last write has failed; empty if it has not."""

    @property
    def has_file(self) -> bool:
        """Whether there is a table on disk."""
        return self._path.exists()

    async def load(self) -> None:
        """Take what is on disk, the first time that this is called."""
        if self._loaded:
            return
        self._loaded = True
        try:
            for suffix in (_RECEIVED, _RENEWED):
                self._path.with_name(FILE + suffix).unlink(missing_ok=True)
            loaded = await asyncio.to_thread(load, self._path)
        except (BadJournalFile, OSError) as error:
            self._metrics.damaged.inc()
            log.error("%s can't be used, so the table is asked for anew: %s", self._path, error)  # noqa: TRY400
            return
        if loaded is None:
            return
        if loaded.dropped_bytes:
            self._metrics.torn_bytes.set(loaded.dropped_bytes)
            text = "the last %d bytes of %s are torn: the table is the one before"
            log.warning(text, loaded.dropped_bytes, self._path)
        self.journal.begin(loaded.base)
        for data, frame in loaded.changes:
            self.journal.relay(data, frame)
        self._use(loaded.file, self.journal.end)
        revision = self.journal.revision
        log.info(
            "the owners of %d names as of revision %d are on disk", loaded.base.names, revision
        )

    def _use(self, file: JournalFile | None, position: int) -> None:
        """Go on with a file that has all that is before a position, or with none."""
        self._file = file
        self._position = position
        base = self.journal.base
        self._metrics.names.set(base.names if base is not None else 0)
        if file is not None:
            assert base is not None
            self._metrics.saved_revision.set(base.revision)
            self._saved()
        self.changed()

    def changed(self) -> None:
        """Show readers and the disk what the journal has."""
        self._metrics.revision.set(self.journal.revision)
        self.on_change()
        self._wake.set()

    def spool(self) -> Spool:
        """Return where a base goes that comes from the control plane."""
        return Spool(self._path, _RECEIVED)

    async def begin(self, begin: Frame, spool: Spool) -> None:
        """Let a base that has come as a whole become the table.

        Raises:
            OSError: It can be kept neither on disk nor in memory.
        """
        key_id, _ = begin.begun()
        async with self._writing:
            head = begin_frame(begin.table, key_id, begin.revision, spool.names)
            file = await asyncio.to_thread(spool.commit, head)
            base = Base(begin.table, key_id, begin.revision, spool.names, spool.frames)
            self.journal.begin(base)
            self._use(JournalFile(file, spool.end) if file is not None else None, self.journal.end)
        if spool.error is not None:
            self._failed(spool.error)

    async def run(self) -> None:
        """Write what has changed, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if await self._save():
                await asyncio.sleep(INTERVAL_S)
            else:
                self._wake.set()
                await asyncio.sleep(RETRY_S)

    async def finish(self) -> None:
        """Write what has not been written yet, if it can be written."""
        try:
            await self._append()
        except Exception:
            log.exception("the newest owners are not on disk")

    async def _save(self) -> bool:
        """Bring the file up to date; return False if that should be tried again."""
        if self.journal.base is None:
            return True
        if self._file is None or self.journal.is_full:
            try:
                await self._renew()
            except OSError as error:
                self._failed(error)
                if isinstance(error, DamagedFile):
                    self.report_damage(error)
                return False
        return await self._append()

    async def _append(self) -> bool:
        """Add the newest changes to the file."""
        async with self._writing:
            file, journal = self._file, self.journal
            if file is None:
                return False
            # Revisions without changes count, too: epochs may ask for them.
            journal.mark()
            while frames := journal.frames(self._position, _WRITE_BYTES):
                try:
                    await asyncio.to_thread(file.append, frames)
                except OSError as error:
                    self._failed(error)
                    return False
                self._position += len(frames)
                self._metrics.saved_revision.set(revision_of(frames[-1]))
            if frames is None:
                # The disk was full for so long that the journal no longer has what the file lacks.
                self._file = None
                return False
            self._saved()
            return True

    async def _renew(self) -> None:
        """Make a new base of the old one and its changes.

        Raises:
            OSError: The disk is full, or the old base can't be read.
        """
        journal = self.journal
        lineage, base = journal.lineages, journal.base
        assert base is not None
        journal.mark()
        revision, position, since = journal.revision, journal.end, journal.since_base()
        if not journal.is_full:
            await asyncio.to_thread(self._check_space, sum(map(len, since)) + 12 * base.names)
        spool = Spool(self._path, _RENEWED)
        try:
            await asyncio.to_thread(_merge, base, revision, since, spool)
            async with self._writing:
                if journal.lineages != lineage:
                    return
                head = begin_frame(base.table, base.key_id, revision, spool.names)
                file = await asyncio.to_thread(spool.commit, head)
                new = Base(base.table, base.key_id, revision, spool.names, spool.frames)
                journal.rebase(new)
                self._use(JournalFile(file, spool.end) if file is not None else None, position)
        finally:
            spool.discard()
        if spool.error is not None:
            raise spool.error
        log.info("the owners of %d names as of revision %d are a new base", spool.names, revision)

    def _check_space(self, needed: int) -> None:
        """Raise OSError if the disk has no room for a new base; that is cheaper than to try it."""
        disk = os.statvfs(self._path.parent)
        free = disk.f_bavail * disk.f_frsize
        if free < needed:
            raise OSError(errno.ENOSPC, f"{needed} bytes are needed and {free} are free")

    def report_damage(self, error: Exception) -> None:
        """Have the table asked for anew, because its base can't be read any more.

        Readers that come before the new base has come report it again, which changes nothing.
        """
        if self._damaged_base == self.journal.bases:
            return
        self._damaged_base = self.journal.bases
        self._metrics.damaged.inc()
        log.error("%s is damaged, so the table is asked for anew: %s", self._path, error)
        self.on_damage()

    def _saved(self) -> None:
        self._trouble = ""
        self._metrics.unsaved.set(0)

    def _failed(self, error: OSError) -> None:
        self._metrics.save_failures.inc()
        self._metrics.unsaved.set(1)
        # An error once, and not at each try.
        level = logging.DEBUG if self._trouble else logging.ERROR
        log.log(level, "the table of owners can't be written to %s: %s", self._path, error)
        self._trouble = str(error)


def _merge(base: Base, revision: int, since: Sequence[bytes], spool: Spool) -> None:
    """Write the BASE frames of a new base."""
    for data in merged(base.table, revision, base.frames, latest(since)):
        spool.add(data, decode(data).count)
        time.sleep(_YIELD_S)
