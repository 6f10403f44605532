"""Tracks each Envoy: which revision it has acknowledged, and what it has refused and why.

A node may have several streams, one for each type. It counts as connected while it has one, and it
runs a revision when each of its streams does. Nodes that have left are remembered for a while:
their last status is shown, and what their streams left open is handed to the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol

from control_plane.xds.fleet.node import Node, NodeStatus
from control_plane.xds.fleet.propagation import Propagation
from control_plane.xds.fleet.publication import Publication
from control_plane.xds.fleet.served_variant import ServedVariant
from control_plane.xds.fleet.waiting import JoinWaiters, RevisionWaiters
from control_plane.xds.session.session import Session
from control_plane.xds.session.status import ResourceStatus
from control_plane.xds.session.unsettled import Unsettled

SHOWN = timedelta(hours=1)
"""How long a node is shown after it has left. What it left open is remembered on."""
MAX_TOLD = 200
"""How many nodes that have left are named to other servers."""
MAX_DISCONNECTED = 10_000
"""Disconnected nodes that are remembered. Those that left first are forgotten first."""


class FleetObserver(Protocol):
    """Counts what happens, for metrics, of which this room knows nothing."""

    def nacked(self, type_url: str) -> None:
        """Count a response of this type that was refused."""

    def published(self, revision: int) -> None:
        """Record the revision that went out to the nodes."""

    def propagated(self, seconds: float) -> None:
        """Record how long a revision took until the last node ran it, left or was given up."""

    def pushed(self, seconds: float) -> None:
        """Record how long it took to send a node what a new snapshot changes for it."""


def _now() -> datetime:
    return datetime.now(UTC)


class Fleet:
    """All nodes that are connected or were lately. Used from the event loop's thread only."""

    def __init__(
        self,
        observer: FleetObserver | None = None,
        clock: Callable[[], datetime] = _now,
        max_disconnected: int = MAX_DISCONNECTED,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nodes: dict[str, Node] = {}
        self._disconnected: dict[str, None] = {}
        """Ids of nodes without a stream, in the order in which they left."""
        self._max_disconnected = max_disconnected
        self._observer = observer
        self._clock = clock
        self.publication = Publication()
        self._join_waiters = JoinWaiters()
        self._revision_waiters = RevisionWaiters()
        self._propagation: Propagation[Session] = Propagation(self._propagated, monotonic)

    # Revisions

    def published(self, revision: int, since: float) -> None:
        """Record that a revision went out to the nodes.

        Args:
            revision: The revision, higher than all before.
            since: When its commit was heard of, in seconds of ``monotonic``.
        """
        if self._observer is not None:
            self._observer.published(revision)
        self.publication.published(revision)
        self._propagation.published(revision, since, lambda session: session.acked_revision)

    def give_up_late(self) -> None:
        """Count revisions that some node has not acknowledged for too long; see `Propagation`."""
        self._propagation.give_up()

    def _propagated(self, seconds: float) -> None:
        if self._observer is not None:
            self._observer.propagated(seconds)

    # Streams

    def connected(
        self,
        node_id: str,
        group: str,
        version: str,
        session: Session,
        variant: ServedVariant | None = None,
        peer: str = "",
    ) -> None:
        """Record that a stream has said that it is this node's.

        Args:
            node_id: The node.
            group: The node's cluster, in Envoy's words.
            version: Envoy's version, as ``1.40.0``.
            session: The session of the stream.
            variant: Which variant the node gets, as `variant` has returned it.
            peer: The address of the stream's connection, in gRPC's words.
        """
        now = self._clock()
        node = self._nodes.get(node_id)
        self._disconnected.pop(node_id, None)
        if node is None or not node.sessions:
            unsettled = node.unsettled if node is not None else {}
            kept = variant or self.variant(node_id)
            node = Node(node_id, group, version, now, now, kept, unsettled)
        node.group, node.version, node.peer = group, version, peer
        node.left_at, node.is_elsewhere = None, False
        node.sessions.append(session)
        self._nodes[node_id] = node
        self._propagation.joined(session)
        self._join_waiters.joined(node_id)
        self._revision_waiters.joined(session)

    def variant(self, node_id: str) -> ServedVariant:
        """Return which variant a node gets; of one that is not known, a new record."""
        node = self._nodes.get(node_id)
        return node.variant if node is not None else ServedVariant()

    def unsettled(self, node_id: str) -> Mapping[str, Unsettled]:
        """Return what earlier streams of the node left open about what it runs, by type."""
        node = self._nodes.get(node_id)
        return node.unsettled if node is not None else {}

    def heard(self, node_id: str, session: Session) -> None:
        """Record what a message of this node has changed, and count its NACKs."""
        node = self._nodes[node_id]
        node.last_message_at = self._clock()
        for type_url, _ in session.nacks:
            if self._observer is not None:
                self._observer.nacked(type_url)
        session.nacks.clear()
        self._propagation.acknowledged(session, session.acked_revision)
        self._revision_waiters.heard(session)

    def pushed(self, seconds: float) -> None:
        """Record how long it took to send a node what a new snapshot changes for it."""
        if self._observer is not None:
            self._observer.pushed(seconds)

    def disconnected(self, node_id: str, session: Session) -> None:
        """Record that a stream of this node has ended."""
        node = self._nodes[node_id]
        status = node.status()
        node.sessions.remove(session)
        merged = {**node.unsettled, **session.unsettled()}
        node.unsettled = {type_url: one for type_url, one in merged.items() if one}
        if not node.sessions:
            node.last_status, node.left_at = status, self._clock()
            self._disconnected[node_id] = None
        if len(self._disconnected) > self._max_disconnected:
            forgotten = next(iter(self._disconnected))
            del self._disconnected[forgotten], self._nodes[forgotten]
        self._revision_waiters.left(session)
        self._propagation.left(session)

    # What is shown

    @property
    def connected_nodes(self) -> int:
        """How many nodes have a stream."""
        return len(self._nodes) - len(self._disconnected)

    def streams_of(self, node_id: str) -> int:
        """Return how many streams a node has open."""
        node = self._nodes.get(node_id)
        return len(node.sessions) if node is not None else 0

    def nodes_by_peer(self) -> dict[str, str]:
        """Return the ids of connected nodes by the address of their connection.

        Connections of several nodes (a proxy's) and those without a port (a Unix socket's) tell
        nobody's id.
        """
        found: dict[str, str] = {}
        shared: set[str] = set()
        for node in self._nodes.values():
            if node.sessions and node.peer.startswith(("ipv4:", "ipv6:")):
                shared |= {node.peer} & found.keys()
                found[node.peer] = node.id
        return {peer: node_id for peer, node_id in found.items() if peer not in shared}

    def nodes(self) -> tuple[NodeStatus, ...]:
        """Return the status of every node that is connected, or missed, by id."""
        return tuple(node.status() for _, node in sorted(self._nodes.items()) if self._shown(node))

    def _shown(self, node: Node) -> bool:
        if node.left_at is None:
            return True
        return not node.is_elsewhere and self._clock() - node.left_at < SHOWN

    def missing(self) -> tuple[str, ...]:
        """Return the ids of nodes that have left, the last ones, to ask other servers for them."""
        ids = reversed(self._disconnected)
        return tuple(one for one in ids if self._shown(self._nodes[one]))[:MAX_TOLD]

    def connected_among(self, node_ids: Iterable[str]) -> tuple[str, ...]:
        """Return those of some nodes that are connected here."""
        return tuple(
            one for one in node_ids if one in self._nodes and one not in self._disconnected
        )

    def found_elsewhere(self, node_ids: Iterable[str]) -> None:
        """Miss nodes no longer that are connected to another server."""
        for one in node_ids:
            if one in self._disconnected:
                self._nodes[one].is_elsewhere = True

    def resources(self, node_id: str) -> Iterator[ResourceStatus]:
        """Yield each resource of a connected node, over all of its streams."""
        node = self._nodes.get(node_id)
        for session in tuple(node.sessions) if node is not None else ():
            yield from session.resources()

    def lagging(self, revision: int) -> tuple[str, ...]:
        """Return the ids of connected nodes that have not acknowledged all up to a revision."""
        return tuple(
            node.id
            for node in self._nodes.values()
            if any(session.acked_revision < revision for session in node.sessions)
        )

    def refusals(self, revision: int) -> dict[str, str]:
        """Return the words of connected nodes that refuse a revision or a newer one, by node id."""
        return {
            node.id: words
            for node in self._nodes.values()
            for session in node.sessions
            if session.acked_revision < revision <= session.revision
            and (words := session.refusal())
        }

    @property
    def acked_revision(self) -> int:
        """The newest revision that every connected node runs; without any, the published one."""
        sessions = (session for node in self._nodes.values() for session in node.sessions)
        return min((one.acked_revision for one in sessions), default=self.publication.revision)

    async def joined(self, node_id: str, timeout_s: float) -> bool:
        """Wait until this node is connected; return False after the time-out."""
        node = self._nodes.get(node_id)
        if node is not None and node.sessions:
            return True
        return await self._join_waiters.wait(node_id, timeout_s)

    async def wait(self, revision: int, timeout_s: float) -> tuple[str, ...]:
        """Wait until every connected node runs a revision, or one refuses it.

        Returns:
            The ids of the nodes that do not run it then, or after the time-out.
        """
        sessions = (session for node in self._nodes.values() for session in node.sessions)
        if await self._revision_waiters.wait(revision, sessions, timeout_s):
            return ()
        return self.lagging(revision)
