"""A log that is still being written, as it comes through a pipe, for some time."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable


class LiveLog:
    """Reads whole lines from a pipe until the time is up. The log must not be compressed."""

    def __init__(
        self, descriptor: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin now.

        Args:
            descriptor: The file descriptor of the pipe.
            seconds: For how long to read; then the log ends.
            clock: Monotonic seconds.
        """
        self._descriptor = descriptor
        self._clock = clock
        self._until = clock() + seconds
        self._lines = b""
        self._rest = b""
        """The beginning of a line whose end has not come."""

    def read(self, size: int) -> bytes:
        """Return up to so many bytes of whole lines; none when the time is up, or at the end."""
        while not self._lines:
            left = self._until - self._clock()
            if left <= 0 or not select.select([self._descriptor], [], [], left)[0]:
                return b""
            piece = os.read(self._descriptor, size)
            if not piece:
                self._lines, self._rest = self._rest, b""
                break
            lines, newline, rest = (self._rest + piece).rpartition(b"\n")
            self._lines, self._rest = lines + newline, rest
        piece, self._lines = self._lines[:size], self._lines[size:]
        return piece
