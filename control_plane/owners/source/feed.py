"""Keeps the table of owners that this control plane serves: a base, then every change.

Nothing is done before the first reader comes. Then a base is built, and the change feed is read
whenever a commit is announced, and several times a second. A new base is built when there have been
many changes since the last one; the journal goes on meanwhile. When the feed does not tell what has
changed (it was pruned, or the database has another history), a new table begins.

While the database is away, the table stays as it is, and readers are told how long ago it was known
to be current.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from control_plane.owners.base import Base
from control_plane.owners.collisions import ClaimedNames
from control_plane.owners.fingerprints import fingerprint
from control_plane.owners.follow import Pace
from control_plane.owners.journal import Journal, Past
from control_plane.owners.sorted_base import SortedFrames
from control_plane.owners.source.builder import BaseBuilder, in_thread
from control_plane.topology import Topology
from control_plane.topology.lookup.all_owners import OwnerChanges, Untold
from control_plane.topology.values.errors import Gone, TopologyError

log = logging.getLogger(__name__)
READ_FEED_S = 0.2
"""How often the change feed is read without being woken. Edges answer for names that nobody owns
only while they know that at most a second ago nothing was newer."""
MAX_PAUSE_S = 5.0
"""The longest pause after the database has failed."""
PAST_CHANGES = 50_000
"""How many changes before the first base are told to readers that come with a table."""
MAX_LOG_BYTES = 8 << 20
"""Of changes since the base; the names that have changed take some 100 bytes each besides."""


class AnotherTable(Exception):
    """The database has another history than the table that is served."""


@dataclass(frozen=True, slots=True)
class _Records:
    """What a read of the change feed has brought."""

    upto: int
    is_all: bool
    """Whether there was nothing newer than ``upto``."""
    revisions: Sequence[tuple[int, Sequence[tuple[int, int]]]]
    """Each revision that changes owners, with its records."""


class OwnersFeed:
    """Follows a topology. For one event loop."""

    def __init__(
        self,
        topology: Topology,
        builder: BaseBuilder,
        *,
        poll_s: float = READ_FEED_S,
        max_log_bytes: int = MAX_LOG_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Follow nothing yet; `run` does, once `want` was called."""
        self.journal = Journal(max_log_bytes)
        self._topology = topology
        self._builder = builder
        self._poll_s = poll_s
        self._clock = clock
        self._wanted = asyncio.Event()
        self._wake = asyncio.Event()
        self._names: ClaimedNames | None = None
        """None until the journal has a base, and when it needs a new one."""
        self._next: asyncio.Task[tuple[Base, SortedFrames]] | None = None
        """The base that is being built while the journal goes on."""
        self._pace = Pace()
        self._readers: Callable[[], int] = lambda: 0
        self._on_change: Callable[[], None] = lambda: None

    def serve(self, readers: Callable[[], int], on_change: Callable[[], None]) -> None:
        """Name who reads the journal.

        Args:
            readers: Returns how many read it now: the more, the more changes go in a frame.
            on_change: Is called when the journal has changed.
        """
        self._readers, self._on_change = readers, on_change

    def want(self) -> None:
        """Begin to follow, or read the feed at once: somebody wants the newest state."""
        self._wanted.set()
        self._wake.set()

    async def run(self) -> None:
        """Follow the topology until cancelled, from the first call of `want` on."""
        await self._wanted.wait()
        unsubscribe = self._topology.subscribe(self._hint(asyncio.get_running_loop()))
        pause_s = self._poll_s
        try:
            while True:
                self._wake.clear()
                try:
                    more = await self.step()
                    pause_s = self._poll_s
                except TopologyError as error:
                    more = False
                    pause_s = min(MAX_PAUSE_S, 2 * pause_s)
                    log.warning("the table of owners can't be kept current: %s", error)
                await self._rest(0.0 if more else pause_s)
        finally:
            unsubscribe()
            await self._stop_building()

    def _hint(self, loop: asyncio.AbstractEventLoop) -> Callable[[int], None]:
        """Return the function that the topology calls after a commit, in the committing thread."""

        def hint(_: int) -> None:
            loop.call_soon_threadsafe(self._wake.set)

        return hint

    async def _rest(self, most_s: float) -> None:
        """Wait for a commit, and until the readers have taken what was sent to them."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                await self._wake.wait()
        await asyncio.sleep(self._pace.wait(self._clock()))

    async def step(self) -> bool:
        """Bring the journal up to date; return whether there is more to read.

        Raises:
            TopologyError: The database can't be read; the journal stays as it is.
        """
        if self._names is None:
            await self._begin()
        try:
            return await self._read(self._names)
        except (Gone, Untold, AnotherTable) as why:
            log.warning("a new table of owners begins: %s", why)
            self._names = None
            return True

    async def _begin(self) -> None:
        await self._stop_building()
        base, frames = await self._builder.build()
        past = await in_thread(partial(self._past, base, frames))
        self._names = ClaimedNames(frames)
        self.journal.begin(base, past)
        self._on_change()

    def _past(self, base: Base, frames: SortedFrames) -> Past | None:
        """Return what changed before a base; runs in a thread.

        So readers that come from another replica, or from before a restart, need not read all
        owners anew.
        """
        owners = self._topology.owners
        table = owners.table()
        if table.table != base.table:
            return None
        floor, keys = owners.changed_before(base.revision, PAST_CHANGES)
        whole = {fingerprint(table.key, bucket, value) for bucket, value in keys}
        return floor, [(one, frames.owner_of(one)) for one in whole]

    async def _read(self, names: ClaimedNames | None) -> bool:
        assert names is not None
        at = self._clock()
        after = self.journal.revision
        read = await in_thread(partial(self._changes, names, after))
        self._append(read, at)
        self._care_for_base(names)
        return not read.is_all

    def _changes(self, names: ClaimedNames, after: int) -> _Records:
        """Read the feed; runs in a thread."""
        found = self._topology.owners.since(after)
        base = self.journal.base
        assert base is not None
        if found.table.table != base.table or found.newest < after:
            raise AnotherTable(f"the database goes on from revision {found.newest}")
        return _Records(found.upto, found.upto == found.newest, list(_records(found, names)))

    def _append(self, read: _Records, at: float) -> None:
        """Write what was read into the journal, and have it sent."""
        journal = self.journal
        before = journal.revision
        last = before
        for last, records in read.revisions:
            journal.append(last, records)
        if read.upto > last:
            # Other changes raise the floor: edges must learn at once that the table has come there.
            journal.append(read.upto, ())
        if read.is_all:
            journal.confirm(at)
        if journal.has_pending or journal.revision > before:
            journal.seal()
            self._pace.sealed(self._clock(), self._readers())
            self._on_change()

    # The next base

    def _care_for_base(self, names: ClaimedNames) -> None:
        """Begin to build the next base when it is time, and take it when it is there."""
        if self._next is None:
            if self.journal.is_full:
                names.mark()
                self._next = asyncio.create_task(self._builder.build())
            return
        if not self._next.done():
            return
        try:
            base, frames = self._next.result()
        except TopologyError as error:
            log.warning("the next base of the table of owners can't be built: %s", error)
            self._next = None
            return
        current = self.journal.base
        if current is None or base.table != current.table:
            # The feed will find that, too, and begin a new table.
            self._next = None
        elif base.revision <= self.journal.revision:
            self._next = None
            names.rebase(frames)
            self.journal.rebase(base)

    async def _stop_building(self) -> None:
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait({self._next})
            self._next = None


def _records(
    found: OwnerChanges, names: ClaimedNames
) -> list[tuple[int, Sequence[tuple[int, int]]]]:
    """Return the records of changes by revision, in order."""
    key = found.table.key
    revisions: list[tuple[int, list[tuple[int, int]]]] = []
    for revision, bucket, value, cell_id, is_new in found.changes:
        if not revisions or revisions[-1][0] != revision:
            revisions.append((revision, []))
        whole = fingerprint(key, bucket, value)
        revisions[-1][1].extend(names.records(whole, cell_id, is_new=is_new))
    return list(revisions)
