"""The open connections of the classifier's port, and how many there may be.

Anybody who reaches the port can open connections, and none costs him anything. If they counted like
those of an edge, a few thousand idle ones would leave no room for it. So a connection is a
*stranger's* until it has shown the secret. Strangers are few, and have little time; where one more
comes than there may be, the oldest goes. An edge shows the secret with the first bytes that it
sends, so it is a stranger for a round trip at most.

    connections  max_connections                 all; a stranger makes room for the next one
      of a peer  max_peer_connections            all with one address
    strangers    MAX_STRANGERS                   the oldest makes room
      of a peer  MAX_PEER_STRANGERS              that peer's oldest makes room
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from control_plane.classifier.log_pause import LogPause

log = logging.getLogger(__name__)
MAX_STRANGERS = 512
MAX_PEER_STRANGERS = 256
STRANGER_S = 5.0
"""How long a connection may last without having shown the secret."""
MAX_REPORTS = 2560
"""How many reports of counts one peer may send in `REPORTS_S`: each worker of an Envoy sends at
most one a second."""
REPORTS_S = 10.0


class Turned(StrEnum):
    """Why a connection is closed before its time."""

    FULL = "full"
    PEER_FULL = "peer_full"
    ROOM_FOR_ANOTHER = "room_for_another"
    SILENT = "silent"
    NO_DESCRIPTOR = "no_descriptor"


class ConnectionObserver(Protocol):
    """Is told of connections, for metrics."""

    def connections(self, edges: int, strangers: int) -> None:
        """Record how many there are."""

    def turned_away(self, why: Turned) -> None:
        """Count a connection that is closed before its time."""


class Connection(asyncio.Protocol):
    """What the book of connections needs of each of them."""

    __slots__ = ()

    @abstractmethod
    def abort(self) -> None:
        """Close it at once."""

    @abstractmethod
    def close(self) -> None:
        """Close it after the answers that there are."""

    @abstractmethod
    def waited(self, seconds: float) -> None:
        """Be told that time has passed."""

    @abstractmethod
    def distrust(self) -> None:
        """Have it show the secret again."""


@dataclass(slots=True)
class Peer:
    """Everybody with one IPv4 address, or in one IPv6 network of 64 bits."""

    address: str
    connections: int = 0
    strangers: dict[Connection, None] = field(default_factory=dict)
    """The oldest first."""
    reports: int = 0
    """How many reports of counts have come in this span of `REPORTS_S`."""

    def may_report(self) -> bool:
        """Count a report of counts; return whether it is to be read."""
        self.reports += 1
        return self.reports <= MAX_REPORTS


class Connections:
    """The connections of one server, for use in one event loop."""

    def __init__(
        self,
        observer: ConnectionObserver,
        *,
        max_connections: int,
        max_peer_connections: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._observer = observer
        self._max = max_connections
        self._max_of_peer = max_peer_connections
        self._clock = clock
        self._peers: dict[str, Peer] = {}
        self._peer_of: dict[Connection, Peer] = {}
        self._strangers: dict[Connection, float] = {}
        """When each came, the oldest first."""
        self._reports_since = clock()
        self._pause = LogPause(clock)

    def __len__(self) -> int:
        return len(self._peer_of)

    def peer(self, address: str) -> Peer | None:
        """Return the peer at an address, with room for one more connection; None if there is none.

        For that, a stranger may be turned away. Call `opened` next.
        """
        key = _network(address)
        peer = self._peers.get(key) or Peer(key)
        if len(peer.strangers) >= MAX_PEER_STRANGERS:
            self._make_room(next(iter(peer.strangers)))
        elif len(self._strangers) >= MAX_STRANGERS:
            self._make_room(next(iter(self._strangers)))
        if peer.connections >= self._max_of_peer:
            if not peer.strangers:
                self._refused(Turned.PEER_FULL, address)
                return None
            self._make_room(next(iter(peer.strangers)))
        elif len(self._peer_of) >= self._max:
            if not self._strangers:
                self._refused(Turned.FULL, address)
                return None
            self._make_room(next(iter(self._strangers)))
        return peer

    def _refused(self, why: Turned, address: str) -> None:
        self._observer.turned_away(why)
        left_out = self._pause.left_out()
        if left_out is not None:
            text = "a connection of %s is refused (%s): there are %d (%d more since the last line)"
            log.warning(text, address, why.value, len(self), left_out)

    def _make_room(self, stranger: Connection) -> None:
        self._turn_away(stranger, Turned.ROOM_FOR_ANOTHER)

    def _turn_away(self, connection: Connection, why: Turned) -> None:
        self.closed(connection)
        connection.abort()
        self._observer.turned_away(why)

    def opened(self, connection: Connection, peer: Peer) -> None:
        """Take a new connection into the book, as a stranger's."""
        self._peers[peer.address] = peer
        self._peer_of[connection] = peer
        peer.connections += 1
        peer.strangers[connection] = None
        self._strangers[connection] = self._clock()

    def proven(self, connection: Connection) -> None:
        """Record that a connection has shown the secret."""
        peer = self._peer_of.get(connection)
        if peer is not None:
            peer.strangers.pop(connection, None)
            self._strangers.pop(connection, None)

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        peer = self._peer_of.pop(connection, None)
        if peer is None:
            return
        peer.strangers.pop(connection, None)
        self._strangers.pop(connection, None)
        peer.connections -= 1
        if not peer.connections:
            self._peers.pop(peer.address, None)

    def free_some(self, number: int) -> None:
        """Close the oldest strangers, because there are no file descriptors left."""
        for connection in list(self._strangers)[:number]:
            self._turn_away(connection, Turned.NO_DESCRIPTOR)

    def sweep(self, seconds: float) -> None:
        """Close strangers whose time is over, and tell the others how much has passed."""
        now = self._clock()
        for connection, since in list(self._strangers.items()):
            if now - since < STRANGER_S:
                break
            self._turn_away(connection, Turned.SILENT)
        for connection in list(self._peer_of):
            connection.waited(seconds)
        if now - self._reports_since >= REPORTS_S:
            self._reports_since = now
            for peer in self._peers.values():
                peer.reports = 0
        strangers = len(self._strangers)
        self._observer.connections(len(self) - strangers, strangers)

    def distrust_all(self) -> None:
        """Have every connection show the secret again, because another one counts now."""
        for connection in self._peer_of:
            connection.distrust()

    def close_all(self) -> None:
        """Close all after the answers that there are."""
        for connection in list(self._peer_of):
            connection.close()


def _network(address: str) -> str:
    """Return what peers with this address are counted under; one host may have 2^64 of IPv6."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((parsed, 64), strict=False))
    return address
