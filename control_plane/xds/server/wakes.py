"""Wakes many streams without holding the event loop until the last of them is served.

The problem: each stream of a thousand works out what a new snapshot changes for it, 0.1 to 1 ms
each. All in one step of the loop, that is up to a second in which nothing else runs.

The idea: streams are woken for `SLICE_S`, then the loop has a turn, then the next are. A stream
that waits for its turn while another snapshot comes is woken once, and takes the newest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

SLICE_S = 0.01

Wake = Callable[[], None]


class Wakes:
    """Streams that are to be woken, in the order of their turns. For one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pending: dict[Wake, None] = {}
        self._scheduled = False

    def wake(self, wakes: Iterable[Wake]) -> None:
        """Call each function once, the first of them now; none of them may raise."""
        self._pending |= dict.fromkeys(wakes)
        if not self._scheduled:
            self._go_on()

    def forget(self, wake: Wake) -> None:
        """Don't call a function any more."""
        self._pending.pop(wake, None)

    def _go_on(self) -> None:
        self._scheduled = False
        end = self._clock() + SLICE_S
        while self._pending:
            wake = next(iter(self._pending))
            del self._pending[wake]
            wake()
            if self._pending and self._clock() >= end:
                self._scheduled = True
                asyncio.get_running_loop().call_soon(self._go_on)
                return
