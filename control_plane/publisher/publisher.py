"""Follows the topology and publishes what it compiles to: topology → compiler → xds.

The publisher waits to be woken by a commit, or until the poll interval has passed, and publishes
the newest state then. Commits in between are skipped, and the revision never goes back. While the
database is away the fleet keeps what it has, and `Publisher.alarm` says why. So it does while the
active ruleset can't be compiled.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import partial

from control_plane.compiler.model import TrafficPolicy
from control_plane.names import MODULE_VARIANT
from control_plane.publisher.edge_snapshots import EdgeSnapshots, NotCompiled
from control_plane.publisher.topology_reader import TopologyReader
from control_plane.topology import Topology
from control_plane.topology.values.change import TopologySnapshot
from control_plane.topology.values.errors import TopologyError
from control_plane.xds.snapshot import Snapshot
from control_plane.xds.snapshot_cache import (
    OverSize,
    SnapshotCache,
    StaleRevision,
    SuspiciousShrink,
)

log = logging.getLogger(__name__)
SLOW_S = 5.0
"""How long the database may take to answer before the alarm is raised."""


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A state of the topology, compiled, with what tells whether the next one differs."""

    edge_revision: int
    epochs: Mapping[int, int]
    snapshot: Snapshot
    """In the plain variant."""
    variants: Mapping[str, Snapshot]
    """Its other variants that are wanted, by name."""
    missing: frozenset[str] = frozenset()
    """The wanted ones that could not be made."""

    @property
    def has(self) -> AbstractSet[str]:
        """The variants that were made, or tried."""
        return self.variants.keys() | self.missing


class Publisher:
    """Publishes the newest committed revision into a snapshot cache."""

    def __init__(
        self,
        topology: Topology,
        cache: SnapshotCache,
        policy: TrafficPolicy,
        *,
        poll_interval_s: float,
        force: bool = False,
        on_published: Callable[[int, float], None],
        on_refused: Callable[[int, str], None] = lambda _revision, _why: None,
    ) -> None:
        """Publish nothing yet; `publish` and `run` do.

        Args:
            topology: what is followed.
            cache: where snapshots go, from which xDS serves them.
            policy: what all routes and clusters have in common.
            poll_interval_s: how long to wait at most before the database is read again.
            force: publish a snapshot that has suddenly shrunk, too.
            on_published: is called with a revision that was published, and the monotonic time at
                which the publisher heard of its commit.
            on_refused: is called with a revision that is not published, and why.
        """
        self._topology = topology
        self._cache = cache
        self._snapshots = EdgeSnapshots(policy, topology.endpoint_policy)
        self._poll_interval_s = poll_interval_s
        self._force = force
        self._on_published = on_published
        self._on_refused = on_refused
        self._published: _Compiled | None = None
        self._wake = asyncio.Event()
        self._heard = 0
        """The newest revision that a commit notification named since the last read."""
        self._since: float | None = None
        """When the publisher heard of the oldest commit that may not be published yet."""
        self._behind = False
        """Whether a read failed, so that the next one must read all even if nothing changed."""
        cache.make_with(self._make_variant)
        self.alarm: str | None = None
        """Why the newest revision is not published, if it is not."""

    def publish(self) -> None:
        """Publish the newest revision now. If that is refused, `alarm` says why.

        It blocks while the database is read: for the start, when nobody is served yet.
        """
        since = time.monotonic()
        state = self._topology.snapshot()
        try:
            compiled = self._compile(state)
        except NotCompiled as error:
            self._refuse(state.revision, str(error))
            return
        if compiled is not None:
            self._put(compiled, since)

    @property
    def denied_endpoints(self) -> int:
        """How many declared endpoints are not published, because no cell may have them."""
        return self._snapshots.denied

    async def run(self) -> None:
        """Publish whenever a commit notification comes, and at least each poll interval."""
        loop = asyncio.get_running_loop()
        unsubscribe = self._topology.subscribe(self._hint(loop))
        reader = TopologyReader(self._topology)
        self._behind = True
        try:
            while True:
                await self._follow(reader)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_interval_s):
                        await self._wake.wait()
        finally:
            unsubscribe()
            reader.close()

    def _hint(self, loop: asyncio.AbstractEventLoop) -> Callable[[int], None]:
        """Return the function that the topology calls after a commit, in the committing thread."""

        def hint(revision: int) -> None:
            loop.call_soon_threadsafe(self._hear, revision, time.monotonic())

        return hint

    def _hear(self, revision: int, at: float) -> None:
        """Record a commit notification (0 means that the revision is unknown).

        Notifications that echo our own commits name a revision that is published, and are ignored.
        """
        newest = max(self._heard, revision or sys.maxsize)
        if not self._is_published(newest):
            self._heard = newest
            self._since = at if self._since is None else self._since
            self._wake.set()

    def _make_variant(self) -> None:
        """Compile what is published once more, for a variant that a node asks for now."""
        self._wake.set()

    def _lacks_variant(self) -> bool:
        """Return whether a node asks for a variant that was not made of what is published."""
        return self._published is not None and not self._cache.wanted <= self._published.has

    def _is_published(self, revision: int) -> bool:
        return self._published is not None and revision <= self._published.snapshot.revision

    async def _follow(self, reader: TopologyReader) -> None:
        """Publish what is new, or raise the alarm where the database can't be read."""
        # A failed read must not lose a commit: the reader tells of each only once.
        behind = self._behind or (self._wake.is_set() and not self._is_published(self._heard))
        behind = behind or self._lacks_variant()
        since = time.monotonic() if self._since is None else self._since
        self._wake.clear()
        self._heard = 0
        self._since = None
        self._behind = False
        state: TopologySnapshot | None = None
        try:
            state = await self._wait_for(
                partial(reader.read, behind=behind), f"the database has not answered for {SLOW_S} s"
            )
            compiled = None if state is None else await self._compiled(state)
        except TopologyError as error:
            self._since = since
            self._raise_alarm(str(error))
            return
        except NotCompiled as error:
            self._refuse(0 if state is None else state.revision, str(error))
            return
        if state is not None:
            self.alarm = None
            self._behind = False
        if compiled is not None:
            self._put(compiled, since)

    async def _compiled(self, state: TopologySnapshot) -> _Compiled | None:
        """Return a state compiled, None if it is not new.

        It runs in a thread: the routes of a thousand cells take a tenth of a second, and claims and
        streams must not wait for them.
        """
        slow = f"revision {state.revision} has been compiled for {SLOW_S} s"
        return await self._wait_for(partial(self._compile, state), slow)

    async def _wait_for[T](self, work: Callable[[], T], slow: str) -> T:
        """Have a thread work, and raise the alarm when that takes longer than `SLOW_S`.

        There is one such work at a time, however long it takes. A cancelled caller waits for the
        thread, at most `SLOW_S`, because it may use a connection that the caller closes next.

        Args:
            work: reads the database, or compiles.
            slow: what the alarm says, unless no thread was free.
        """
        begun = threading.Event()

        def run() -> T:
            begun.set()
            return work()

        task = asyncio.create_task(asyncio.to_thread(run))
        try:
            done, _ = await asyncio.wait({task}, timeout=SLOW_S)
            if not done:
                self._raise_alarm(slow if begun.is_set() else f"no thread was free for {SLOW_S} s")
                await asyncio.wait({task})
        except asyncio.CancelledError:
            await asyncio.wait({task}, timeout=SLOW_S)
            raise
        return task.result()

    def _raise_alarm(self, why: str) -> None:
        self._behind = True
        self.alarm = f"the newest revision is not known: {why}"
        log.error("%s", self.alarm)

    def _refuse(self, revision: int, why: str) -> None:
        """Raise the alarm for a state that is not published; the fleet keeps what it has."""
        if why != self.alarm:
            log.error("%s", why)
        self.alarm = why
        self._on_refused(revision, why)

    def _compile(self, state: TopologySnapshot) -> _Compiled | None:
        """Compile a state, if it is newer than what is published. One call at a time.

        Raises:
            NotCompiled: the state's ruleset can't be compiled, or the database has gone back in
                time.
        """
        last, wanted = self._published, self._cache.wanted
        if last is not None and state.revision <= last.snapshot.revision:
            self._check_age(state.revision, last.snapshot.revision)
            if wanted <= last.has:
                return None
        # Claims don't reach Envoy, except by the epochs: the resources stay as they are.
        if last is None or state.edge_revision != last.edge_revision or not wanted <= last.has:
            return self._compiled_anew(state, wanted)
        if state.epochs == last.epochs:
            change = partial(Snapshot.at, revision=state.revision)
        else:
            change = partial(self._snapshots.with_epochs, state=state)
        variants = {name: change(one) for name, one in last.variants.items()}
        return replace(last, epochs=state.epochs, snapshot=change(last.snapshot), variants=variants)

    def _compiled_anew(self, state: TopologySnapshot, wanted: frozenset[str]) -> _Compiled:
        """Compile a state, with the variants that are wanted.

        A variant that fails must not keep the plain one from the fleet: its nodes get that.

        Raises:
            NotCompiled: the state's ruleset can't be compiled.
        """
        snapshot = self._snapshots.of(state)
        variants = {}
        for name in wanted & {MODULE_VARIANT}:
            try:
                variants[name] = self._snapshots.module_variant(snapshot, state)
            except Exception:
                text = (
                    "the variant %s of revision %d can't be compiled: its nodes get the plain one"
                )
                log.exception(text, name, state.revision)
        missing = wanted - variants.keys()
        return _Compiled(state.edge_revision, state.epochs, snapshot, variants, missing)

    @staticmethod
    def _check_age(revision: int, published: int) -> None:
        """Raise NotCompiled if the database is older than what was published from it."""
        if revision < published:
            text = (
                f"revision {revision} is older than {published}, which is published: the database"
                f" went back in time; restore the newer one, or go on above: cellway db advance"
                f" {published}"
            )
            raise NotCompiled(text)

    def _put(self, compiled: _Compiled, since: float) -> None:
        """Publish a compiled state; where a guard of the cache refuses it, raise the alarm."""
        revision = compiled.snapshot.revision
        try:
            self._cache.set(
                compiled.snapshot, compiled.variants, missing=compiled.missing, force=self._force
            )
        except (OverSize, StaleRevision, SuspiciousShrink) as refused:
            self._refuse(revision, f"revision {revision} is not published: {refused}")
            return
        self.alarm = None
        last, self._published = self._published, compiled
        if last is None or last.snapshot.revision < revision:
            self._on_published(revision, since)
