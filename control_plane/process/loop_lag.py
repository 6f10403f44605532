"""Measures how late the event loop is, and how much of that is this program's own doing.

The problem: one step that computes for a second stalls every stream, call and probe of the process
for that second, and none of them can tell why it waits.

The idea: a task sleeps for `INTERVAL_S` again and again, and looks how late it wakes. That is the
lag. A loop is also late because other programs have the processors. So the time of the processors
that this process has used in the meantime is read, too: what the loop was held by ourselves is at
most that. It counts threads, because one that does not let go of the interpreter's lock holds the
loop as well.

An example: a step parses 12 MB for 0.3 s on an idle machine; both figures are 0.3 s. On a machine
where another program takes half of the time, the lag is 0.6 s, and 0.3 s are our own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NoReturn, Protocol

INTERVAL_S = 0.01
"""A stall is seen in full but for this much."""


class LagObserver(Protocol):
    """Records each measurement, for metrics."""

    def lagged(self, lag_s: float, own_s: float) -> None:
        """Record how late the loop was, and how much of that this process was busy, in seconds."""


class LoopLag:
    """Measures the event loop that it runs on."""

    def __init__(
        self,
        observer: LagObserver,
        clock: Callable[[], float] = time.monotonic,
        processor_clock: Callable[[], float] = time.process_time,
    ) -> None:
        self._observer = observer
        self._clock = clock
        self._processor_clock = processor_clock

    async def run(self) -> NoReturn:
        """Measure until cancelled."""
        while True:
            started, busy = self._clock(), self._processor_clock()
            await asyncio.sleep(INTERVAL_S)
            lag_s = max(0.0, self._clock() - started - INTERVAL_S)
            own_s = min(lag_s, self._processor_clock() - busy)
            self._observer.lagged(lag_s, own_s)
