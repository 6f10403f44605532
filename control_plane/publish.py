"""Follows the topology and publishes what it compiles to: topology → compiler → xds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from control_plane.compiler.compile import EdgeCompiler
from control_plane.compiler.epochs import compile_epochs
from control_plane.compiler.model import TrafficPolicy
from control_plane.routing.parse import parse
from control_plane.routing.ruleset import Ruleset
from control_plane.topology.model import CellState
from control_plane.topology.model import Snapshot as TopologySnapshot
from control_plane.topology.service import Topology
from control_plane.xds.cache import OverSize, SnapshotCache, StaleRevision, SuspiciousShrink
from control_plane.xds.resource import Resource
from control_plane.xds.snapshot import Snapshot

log = logging.getLogger(__name__)


@lru_cache(maxsize=4)
def _parsed(document: str) -> Ruleset:
    return parse(document)


def compile_snapshot(
    topology: TopologySnapshot, compiler: EdgeCompiler, *, edge_cache: bool = False
) -> Snapshot:
    """The fleet's configuration for one revision; without an active ruleset there is none.

    With ``edge_cache``, it has the epochs that tell the edge's cache what is void.
    """
    if topology.ruleset is None:
        return Snapshot(topology.revision, ())
    cells = [cell for cell in topology.cells if cell.state is not CellState.RETIRED]
    ruleset = _parsed(topology.ruleset.document)
    compiled = compiler.compile(cells, ruleset, topology.edge_revision)
    resources = [Resource.of(one.type_url, one.name, one.body) for one in compiled]
    if edge_cache:
        resources.append(epochs_resource(topology))
    return Snapshot(topology.revision, resources)


def epochs_resource(topology: TopologySnapshot) -> Resource:
    """The epochs as a resource."""
    made = compile_epochs(topology.floor, topology.epochs)
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
        edge_cache: bool = False,
        on_published: Callable[[int], None],
    ) -> None:
        self._topology = topology
        self._cache = cache
        self._compiler = EdgeCompiler(policy)
        self._poll_interval_s = poll_interval_s
        self._force = force
        self._edge_cache = edge_cache
        self._on_published = on_published
        self._last: _Published | None = None
        self._wake = asyncio.Event()
        self.alarm: str | None = None
        """Why the newest revision is not published, if it is not."""

    def publish(self) -> None:
        """Publish the newest revision now, unless a guard refuses; then ``alarm`` says why."""
        state = self._topology.snapshot()
        last = self._last
        if last is not None and state.revision <= last.snapshot.revision:
            return
        if last is not None and state.edge_revision == last.edge_revision:
            # Claims don't reach Envoy: the same resources at a newer revision, but for epochs.
            snapshot = last.snapshot.at(state.revision)
            if self._edge_cache and state.ruleset and state.epochs != last.epochs:
                snapshot = snapshot.with_resource(epochs_resource(state))
        else:
            snapshot = compile_snapshot(state, self._compiler, edge_cache=self._edge_cache)
        try:
            self._cache.set(snapshot, force=self._force)
        except (OverSize, StaleRevision, SuspiciousShrink) as refused:
            self.alarm = f"revision {state.revision} is not published: {refused}"
            log.error("%s", self.alarm)  # noqa: TRY400 - a guard, not a bug
            return
        self.alarm = None
        self._last = _Published(state.edge_revision, state.epochs, snapshot)
        self._on_published(state.revision)

    def _woken(self, loop: asyncio.AbstractEventLoop) -> Callable[[int], None]:
        def hint(_: int) -> None:
            loop.call_soon_threadsafe(self._wake.set)

        return hint

    async def run(self) -> None:
        """Publish on each wake-up of this process's commits, and look for others' regularly."""
        loop = asyncio.get_running_loop()
        stop = self._topology.subscribe(self._woken(loop))
        lookup = self._topology.claim_lookup()
        try:
            self.publish()
            while True:
                try:
                    async with asyncio.timeout(self._poll_interval_s):
                        await self._wake.wait()
                except TimeoutError:
                    if not lookup.changed():
                        continue
                self._wake.clear()
                self.publish()
        finally:
            stop()
            lookup.close()


__all__ = ["Publisher", "compile_snapshot"]
