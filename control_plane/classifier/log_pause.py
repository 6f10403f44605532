"""Keeps a line that could come thousands of times a second from filling the log."""

from __future__ import annotations

import time
from collections.abc import Callable

LOG_S = 5.0
"""The least time between two lines. Each says how many were left out before."""


class LogPause:
    """Says when a line may be written again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._logged_at = float("-inf")
        self._left_out = 0

    def left_out(self) -> int | None:
        """Return how many lines were left out before this one; None if it is to be left out."""
        now = self._clock()
        if now - self._logged_at < LOG_S:
            self._left_out += 1
            return None
        self._logged_at = now
        left_out, self._left_out = self._left_out, 0
        return left_out
