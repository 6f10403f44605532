"""Finds out again and again whether the database takes writes.

Writes tell that themselves (`storage.writability`). But a replica that is told to be unready gets
none, and an idle one has none, so that somebody has to look.
"""

from __future__ import annotations

import asyncio

from starlette.concurrency import run_in_threadpool

from control_plane.topology import Topology

INTERVAL_S = 2.0
"""The pause between two looks."""


class DatabaseWatch:
    """Looks after one topology's database."""

    def __init__(self, topology: Topology, interval_s: float = INTERVAL_S) -> None:
        self._topology = topology
        self._interval_s = interval_s

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await run_in_threadpool(self._topology.check_writes)
            await asyncio.sleep(self._interval_s)
