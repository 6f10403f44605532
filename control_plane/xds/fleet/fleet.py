"""What each Envoy runs: revisions acknowledged, and what was refused and why."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from control_plane.xds.fleet.envoy_version import outdated
from control_plane.xds.fleet.propagation import Propagation
from control_plane.xds.session.session import Session
from control_plane.xds.session.status import ResourceStatus, SyncState, TypeStatus
from control_plane.xds.session.subscription import Doubt

MAX_DISCONNECTED = 10_000
"""Disconnected nodes that are remembered; the oldest are forgotten first."""


class Observer(Protocol):
    """Is told what happens, for metrics."""

    def nacked(self, type_url: str) -> None:
        """A resource of this type was refused."""

    def published(self, revision: int) -> None:
        """A revision went out to the nodes."""

    def propagated(self, seconds: float) -> None:
        """Every node that was to get a revision runs it, is gone, or was given up."""

    def pushed(self, seconds: float) -> None:
        """A node was sent what a new snapshot changes for it."""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One Envoy as the control plane knows it."""

    id: str
    group: str
    version: str
    connected: bool
    connected_at: datetime
    last_message_at: datetime
    acked_revision: int
    state: SyncState
    types: tuple[TypeStatus, ...]

    @property
    def outdated(self) -> str:
        """Why an Envoy of this version should not be in the fleet; empty if it may."""
        return outdated(self.version)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "id": self.id,
            "group": self.group,
            "version": self.version,
            "outdated": self.outdated or None,
            "connected": self.connected,
            "connected_at": self.connected_at.isoformat(),
            "last_message_at": self.last_message_at.isoformat(),
            "acked_revision": self.acked_revision,
            "state": self.state,
            "types": [
                {
                    "type": status.type_url.rpartition(".")[2],
                    "state": status.state,
                    "acked_version": status.acked_version,
                    "sent_version": status.sent_version,
                    "error": status.error,
                    "rejected": list(status.rejected),
                }
                for status in self.types
            ],
        }


@dataclass(slots=True, eq=False)
class _Waiter:
    """Who waits for a revision, and the sessions that do not run it yet."""

    revision: int
    lacking: set[Session]
    done: asyncio.Event


@dataclass(slots=True)
class _Node:
    id: str
    group: str
    version: str
    connected_at: datetime
    last_message_at: datetime
    sessions: list[Session] = field(default_factory=list)
    doubts: Mapping[str, Doubt] = field(default_factory=dict)
    """What its last streams left open, by type; see `Session.doubt`."""
    last: NodeStatus | None = None


def _now() -> datetime:
    return datetime.now(UTC)


class Fleet:
    """All nodes, connected or lately so. Used from the event loop's thread only."""

    def __init__(
        self,
        observer: Observer | None = None,
        clock: Callable[[], datetime] = _now,
        max_disconnected: int = MAX_DISCONNECTED,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nodes: dict[str, _Node] = {}
        self._gone: dict[str, None] = {}
        """Ids without a stream, the longest gone first."""
        self._max_disconnected = max_disconnected
        self._observer = observer
        self._clock = clock
        self._joining: dict[str, list[asyncio.Event]] = {}
        self._waiters: set[_Waiter] = set()
        self._propagation: Propagation[Session] = Propagation(self._propagated, monotonic)

    def _propagated(self, seconds: float) -> None:
        if self._observer is not None:
            self._observer.propagated(seconds)

    def published(self, revision: int, since: float) -> None:
        """A revision went out to the nodes, whose commit was heard of at ``since``, monotonic."""
        if self._observer is not None:
            self._observer.published(revision)
        self._propagation.published(revision, since, lambda session: session.acked_revision)

    def give_up_late(self) -> None:
        """Count revisions that some node has not acknowledged for too long; see `Propagation`."""
        self._propagation.give_up()

    def connected(self, node_id: str, group: str, version: str, session: Session) -> None:
        """A stream of this node has said who it is."""
        now = self._clock()
        node = self._nodes.get(node_id)
        self._gone.pop(node_id, None)
        if node is None or not node.sessions:
            doubts = node.doubts if node is not None else {}
            node = _Node(node_id, group, version, now, now, doubts=doubts)
        node.group, node.version = group, version
        node.sessions.append(session)
        self._nodes[node_id] = node
        self._propagation.joined(session)
        for joined in self._joining.pop(node_id, ()):
            joined.set()
        for waiter in self._waiters:
            if session.acked_revision < waiter.revision:
                waiter.lacking.add(session)

    def doubts(self, node_id: str) -> Mapping[str, Doubt]:
        """Return what earlier streams of the node left open about what it runs, by type."""
        node = self._nodes.get(node_id)
        return node.doubts if node is not None else {}

    def heard(self, node_id: str, session: Session) -> None:
        """A message of this node was handled; NACKs are reported from here."""
        node = self._nodes[node_id]
        node.last_message_at = self._clock()
        for type_url, _ in session.nacks:
            if self._observer is not None:
                self._observer.nacked(type_url)
        session.nacks.clear()
        self._propagation.acknowledged(session, session.acked_revision)
        for waiter in self._waiters:
            if session.acked_revision >= waiter.revision:
                self._no_longer_lacks(waiter, session)

    def pushed(self, seconds: float) -> None:
        """A node was sent what a new snapshot changes for it, in this time."""
        if self._observer is not None:
            self._observer.pushed(seconds)

    def disconnected(self, node_id: str, session: Session) -> None:
        """A stream of this node has ended."""
        node = self._nodes[node_id]
        status = _status(node)
        node.sessions.remove(session)
        merged = {**node.doubts, **session.doubts()}
        node.doubts = {type_url: doubt for type_url, doubt in merged.items() if doubt}
        if not node.sessions:
            node.last = status
            self._gone[node_id] = None
        if len(self._gone) > self._max_disconnected:
            forgotten = next(iter(self._gone))
            del self._gone[forgotten], self._nodes[forgotten]
        for waiter in self._waiters:
            self._no_longer_lacks(waiter, session)
        self._propagation.left(session)

    @staticmethod
    def _no_longer_lacks(waiter: _Waiter, session: Session) -> None:
        waiter.lacking.discard(session)
        if not waiter.lacking:
            waiter.done.set()

    @property
    def connected_nodes(self) -> int:
        """How many nodes have a stream."""
        return len(self._nodes) - len(self._gone)

    def nodes(self) -> tuple[NodeStatus, ...]:
        """Every node, by id."""
        return tuple(_status(node) for _, node in sorted(self._nodes.items()))

    def resources(self, node_id: str) -> Iterator[ResourceStatus]:
        """Each resource of a connected node, over all of its streams; nothing for others."""
        node = self._nodes.get(node_id)
        for session in tuple(node.sessions) if node is not None else ():
            yield from session.resources()

    def lagging(self, revision: int) -> tuple[str, ...]:
        """Connected nodes that have not acknowledged everything up to ``revision``."""
        return tuple(
            node.id
            for node in self._nodes.values()
            if any(session.acked_revision < revision for session in node.sessions)
        )

    async def joined(self, node_id: str, timeout_s: float) -> bool:
        """Wait until this node is connected; False if it is not by then."""
        if self._is_connected(node_id):
            return True
        joined = asyncio.Event()
        self._joining.setdefault(node_id, []).append(joined)
        try:
            async with asyncio.timeout(timeout_s):
                await joined.wait()
        except TimeoutError:
            return False
        finally:
            waiting = self._joining.get(node_id, [])
            if joined in waiting:
                waiting.remove(joined)
            if not waiting:
                self._joining.pop(node_id, None)
        return True

    def _is_connected(self, node_id: str) -> bool:
        return node_id in self._nodes and bool(self._nodes[node_id].sessions)

    async def wait(self, revision: int, timeout_s: float) -> tuple[str, ...]:
        """Wait until every connected node runs ``revision``; the ids of those that don't.

        Each node is looked at once; from then on only what changes is.
        """
        lacking = {
            session
            for node in self._nodes.values()
            for session in node.sessions
            if session.acked_revision < revision
        }
        waiter = _Waiter(revision, lacking, asyncio.Event())
        if not lacking:
            return ()
        self._waiters.add(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                # Again if a node has come meanwhile.
                while waiter.lacking:
                    waiter.done.clear()
                    await waiter.done.wait()
        except TimeoutError:
            return self.lagging(revision)
        finally:
            self._waiters.discard(waiter)
        return ()


_ORDER = (SyncState.NACKED, SyncState.STALE, SyncState.NOT_SENT, SyncState.SYNCED)


def _status(node: _Node) -> NodeStatus:
    if not node.sessions and node.last is not None:
        last = node.last
        return NodeStatus(
            last.id,
            last.group,
            last.version,
            False,
            last.connected_at,
            last.last_message_at,
            last.acked_revision,
            SyncState.DISCONNECTED,
            last.types,
        )
    types = tuple(status for session in node.sessions for status in session.statuses())
    states = {status.state for status in types}
    state = next((one for one in _ORDER if one in states), SyncState.NOT_SENT)
    return NodeStatus(
        node.id,
        node.group,
        node.version,
        bool(node.sessions),
        node.connected_at,
        node.last_message_at,
        min((session.acked_revision for session in node.sessions), default=0),
        state,
        types,
    )
