"""Follows the topology and publishes what it compiles to: topology → compiler → xds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from control_plane.compiler.edge import EdgeCompiler
from control_plane.compiler.epochs import compile_epochs
from control_plane.compiler.filters import has_epochs
from control_plane.compiler.model import TrafficPolicy
from control_plane.names import ECDS, EPOCHS_FILTER
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.ruleset import Ruleset
from control_plane.topology import Topology
from control_plane.topology.lookup.interface import ClaimLookup, Mark
from control_plane.topology.values.change import Snapshot as TopologySnapshot
from control_plane.topology.values.errors import TopologyError
from control_plane.xds.resource import Resource
from control_plane.xds.server.revision_probe import RevisionUnknown
from control_plane.xds.snapshot import EMPTY, Snapshot
from control_plane.xds.snapshot_cache import (
    OverSize,
    SnapshotCache,
    StaleRevision,
    SuspiciousShrink,
)

log = logging.getLogger(__name__)
SLOW_S = 5.0
"""How long the database may take to answer until that raises the alarm."""


@lru_cache(maxsize=4)
def _parsed(document: str) -> Ruleset:
    return parse(document)


class EdgeSnapshots:
    """The fleet's configuration, revision after revision; each is made from the one before.

    Where the listener has the filter that shows them, there are the epochs that tell which of the
    answers kept at the edge are void; nowhere else, since no Envoy would ask for them, and none
    would ever be up to date.
    """

    def __init__(self, policy: TrafficPolicy) -> None:
        self._compiler = EdgeCompiler(policy)
        self._policy = policy
        self._last = EMPTY

    def at(self, state: TopologySnapshot, ruleset: Ruleset) -> Snapshot:
        """The configuration for a state's cells."""
        update = self._compiler.update(state.cells, ruleset, state.edge_revision)
        put = [Resource.of(one.type_url, one.name, one.body) for one in update.put]
        if has_epochs(self._policy):
            put.append(_epochs(state.answers_revision, state.epochs))
        self._last = self._last.altered(state.revision, put, update.dropped)
        return self._last

    def of(self, topology: TopologySnapshot) -> Snapshot:
        """The configuration at one revision; without an active ruleset there is none."""
        if topology.ruleset is None:
            return Snapshot(topology.revision, ())
        ruleset = _parsed(topology.ruleset.document)
        return self.at(topology, ruleset)

    def with_epochs(self, snapshot: Snapshot, topology: TopologySnapshot) -> Snapshot:
        """A snapshot at a newer revision at which only claims have changed."""
        shown = EPOCHS_FILTER in snapshot.of_type(ECDS)
        put = [_epochs(topology.answers_revision, topology.epochs)] if shown else []
        return snapshot.altered(topology.revision, put, ())


def _epochs(floor: int, epochs: Mapping[int, int]) -> Resource:
    made = compile_epochs(floor, epochs)
    return Resource.of(made.type_url, made.name, made.body)


@dataclass(frozen=True, slots=True)
class _Published:
    edge_revision: int
    epochs: Mapping[int, int]
    snapshot: Snapshot


class Publisher:
    """Publishes every committed revision; commits in between may be skipped, none goes back."""

    def __init__(
        self,
        topology: Topology,
        cache: SnapshotCache,
        policy: TrafficPolicy,
        *,
        poll_interval_s: float,
        force: bool = False,
        on_published: Callable[[int, float], None],
    ) -> None:
        """``on_published`` is told a revision, and when its commit was heard of, monotonic."""
        self._topology = topology
        self._cache = cache
        self._snapshots = EdgeSnapshots(policy)
        self._poll_interval_s = poll_interval_s
        self._force = force
        self._on_published = on_published
        self._last: _Published | None = None
        self._wake = asyncio.Event()
        self._heard = 0
        self._since: float | None = None
        """When the oldest commit that may not be published yet was heard of."""
        self._behind = False
        self.alarm: str | None = None
        """Why the newest revision is not published, if it is not."""

    def publish(self) -> None:
        """Publish the newest revision now, unless a guard refuses; then ``alarm`` says why.

        Blocks while the database is read: for a start, when nobody is served yet.
        """
        since = time.monotonic()
        compiled = self._compiled(self._topology.snapshot())
        if compiled is not None:
            self._put(compiled, since)

    def _compiled(self, state: TopologySnapshot) -> _Published | None:
        """A state compiled, if it is newer than the last. One call at a time."""
        last = self._last
        if last is not None and state.revision <= last.snapshot.revision:
            return None
        # Claims don't reach Envoy: the same resources at a newer revision, but for epochs.
        if last is None or state.edge_revision != last.edge_revision:
            snapshot = self._snapshots.of(state)
        elif state.epochs == last.epochs:
            snapshot = last.snapshot.at(state.revision)
        else:
            snapshot = self._snapshots.with_epochs(last.snapshot, state)
        return _Published(state.edge_revision, state.epochs, snapshot)

    def _put(self, compiled: _Published, since: float) -> None:
        revision = compiled.snapshot.revision
        try:
            self._cache.set(compiled.snapshot, force=self._force)
        except (OverSize, StaleRevision, SuspiciousShrink) as refused:
            self.alarm = f"revision {revision} is not published: {refused}"
            log.error("%s", self.alarm)  # noqa: TRY400 - a guard, not a bug
            return
        self.alarm = None
        self._last = compiled
        self._on_published(revision, since)

    def _newest(self, reader: _Reader, *, behind: bool) -> tuple[bool, _Published | None]:
        """Whether anything was committed, and what is newer than the last, compiled. Blocks.

        A thousand cells' routes take a tenth of a second: claims and streams don't wait for them.
        """
        state = reader.read(behind=behind)
        return state is not None, None if state is None else self._compiled(state)

    async def _follow(self, reader: _Reader) -> None:
        """Publish what is new. Without a database the fleet keeps what it has, and we go on."""
        # Kept until it is published: the look-up tells of a change only once.
        behind = self._behind or (self._wake.is_set() and not self._is_published(self._heard))
        since = time.monotonic() if self._since is None else self._since
        self._wake.clear()
        self._heard = 0
        self._since = None
        self._behind = False
        try:
            newest = asyncio.to_thread(self._newest, reader, behind=behind)
            changed, compiled = await self._waited_for(newest)
        except TopologyError as error:
            self._since = since
            self._unknown(str(error))
            return
        if changed:
            self.alarm = None
            self._behind = False
        if compiled is not None:
            self._put(compiled, since)

    async def _waited_for[T](self, reading: Coroutine[Any, Any, T]) -> T:
        """What a thread reads: the alarm is raised when that takes long, but it stays the one read.

        Who is cancelled leaves when the thread is done, or after `SLOW_S`: it uses a connection
        that is closed next.
        """
        task = asyncio.create_task(reading)
        try:
            done, _ = await asyncio.wait({task}, timeout=SLOW_S)
            if not done:
                self._unknown(f"the database has not answered for {SLOW_S} s")
                await asyncio.wait({task})
        except asyncio.CancelledError:
            await asyncio.wait({task}, timeout=SLOW_S)
            raise
        return task.result()

    def _unknown(self, why: str) -> None:
        self._behind = True
        self.alarm = f"the newest revision is not known: {why}"
        log.error("%s", self.alarm)

    def _woken(self, loop: asyncio.AbstractEventLoop) -> Callable[[int], None]:
        def hint(revision: int) -> None:
            loop.call_soon_threadsafe(self._hear, revision, time.monotonic())

        return hint

    def _hear(self, revision: int, at: float) -> None:
        """A revision was committed, 0: some. Of our own the database tells us again: no news."""
        newest = max(self._heard, revision or sys.maxsize)
        if not self._is_published(newest):
            self._heard = newest
            self._since = at if self._since is None else self._since
            self._wake.set()

    def _is_published(self, revision: int) -> bool:
        return self._last is not None and revision <= self._last.snapshot.revision

    async def run(self) -> None:
        """Publish on each wake-up of this process's commits, and look for others' regularly."""
        loop = asyncio.get_running_loop()
        stop = self._topology.subscribe(self._woken(loop))
        reader = _Reader(self._topology)
        self._behind = True
        try:
            while True:
                await self._follow(reader)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_interval_s):
                        await self._wake.wait()
        finally:
            stop()
            reader.close()


class _Reader:
    """Reads the topology when it has changed; blocks. In one thread at a time."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._lookup: ClaimLookup | None = None
        self._mark: Mark | None = None
        self._last: tuple[int, TopologySnapshot] | None = None
        """A state, and the connection over which it was found to be new."""

    def read(self, *, behind: bool) -> TopologySnapshot | None:
        """The newest state, if anything was committed since the last call, or if ``behind``.

        Under load most commits are claims: what these don't change is not read again.
        """
        if self._lookup is None:
            self._lookup = self._topology.claim_lookup()
        # Before the state: a commit after it must not be missed by the next call.
        mark = self._lookup.mark()
        if mark == self._mark and not behind:
            return None
        self._mark = mark
        state = self._known(mark) or self._topology.snapshot()
        self._last = mark.connection, state
        return state

    def _known(self, mark: Mark) -> TopologySnapshot | None:
        """The last state at a newer revision, where that is all that is new."""
        if self._last is None:
            return None
        connection, last = self._last
        known = Mark(mark.revision, last.edge_revision, sum(last.epochs.values()), connection)
        if known != mark or mark.revision < last.revision:
            return None
        return replace(last, revision=mark.revision)

    def close(self) -> None:
        """Close the connection."""
        if self._lookup is not None:
            self._lookup.close()


__all__ = ["EdgeSnapshots", "Publisher"]


def newest_revision(topology: Topology) -> Callable[[], int]:
    """What reads the newest committed revision; that raises `RevisionUnknown`."""

    def read() -> int:
        try:
            return topology.revision()
        except TopologyError as error:
            raise RevisionUnknown(str(error)) from error

    return read
