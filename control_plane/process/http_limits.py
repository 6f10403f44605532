"""Bounds of an HTTP listener that strangers reach, and the counts of what is open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """How much clients may make the listener hold, and how long it waits for them."""

    connections: int = 1024
    connections_of_peer: int = 512
    """Of one IP address. Many clients may share one, behind a proxy."""
    head_bytes: int = 64 << 10
    """Request line and headers."""
    head_s: float = 10.0
    """From a connection's start, or the first byte of a further request, to the head's end."""
    body_s: float = 60.0
    """From there to the end of the body, whether somebody reads it or not."""
    write_s: float = 60.0
    """How long a client may read nothing of an answer that waits for it."""
    idle_s: int = 75
    """How long a connection is kept between two requests."""
    pipelined: int = 8
    """Requests that may come before the first one is answered."""


class OpenConnections:
    """Counts the open connections of a listener, and says who may open another one."""

    def __init__(self, limits: HttpLimits, refused: Callable[[str], None]) -> None:
        """Count from zero.

        Args:
            limits: The bounds.
            refused: Is called with a word for each bound that something is refused by.
        """
        self.limits = limits
        self.refused = refused
        self._by_peer: Counter[str] = Counter()

    def enter(self, peer: str) -> str:
        """Count a connection of an IP address, and return why it may not stay; empty if it may."""
        total, of_peer = self._by_peer.total(), self._by_peer[peer]
        self._by_peer[peer] += 1
        if total >= self.limits.connections:
            return f"{self.limits.connections} connections are open"
        if of_peer >= self.limits.connections_of_peer:
            return f"{self.limits.connections_of_peer} connections of {peer} are open"
        return ""

    def leave(self, peer: str) -> None:
        """Count that a connection has ended."""
        self._by_peer[peer] -= 1
        if not self._by_peer[peer]:
            del self._by_peer[peer]
