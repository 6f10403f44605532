"""Bounds of what readers of the owners stream can make its server hold or do."""

from __future__ import annotations

from dataclasses import dataclass


class ReaderLimitExceeded(Exception):
    """A reader wants more than its share; the text says of what."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of all streams of a server."""

    streams: int = 10_000
    streams_per_node: int = 16
    """An Envoy has one, an agent another; twice that while they restart, and some that the network
    has cut without a word."""
    hello_timeout_s: float = 30.0
    """How long a stream may take to say what it has."""
    write_timeout_s: float = 60.0
    """How long a reader may take to accept one frame. It keeps a base in memory meanwhile."""
    messages_per_s: float = 5.0
    burst: float = 20.0
    """Messages that a stream may send at once after it has been silent."""


class MessageBudget:
    """How many messages a stream may still send now: a bucket that fills with time."""

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._left = limits.burst
        self._filled_at = now

    def spend(self, now: float) -> None:
        """Count one message; raise `ReaderLimitExceeded` if the stream has sent too many."""
        limits = self._limits
        grown = (now - self._filled_at) * limits.messages_per_s
        self._left = min(limits.burst, self._left + grown)
        self._filled_at = now
        if self._left < 1:
            raise ReaderLimitExceeded(f"more than {limits.messages_per_s:g} messages a second")
        self._left -= 1
