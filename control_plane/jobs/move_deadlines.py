"""Rolls back moves of tenants whose time is over before their switch.

A frozen tenant can't write. If whoever froze it has gone away, somebody has to let it go on.
"""

from __future__ import annotations

import asyncio
import logging

from starlette.concurrency import run_in_threadpool

from control_plane.topology import Topology
from control_plane.topology.values.errors import TopologyError

log = logging.getLogger(__name__)

INTERVAL_S = 5.0
"""The pause between two looks."""


class MoveDeadlines:
    """Looks after the moves of one topology. Several replicas may: a move is rolled back once."""

    def __init__(self, topology: Topology, interval_s: float = INTERVAL_S) -> None:
        self._topology = topology
        self._interval_s = interval_s

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await run_in_threadpool(self._topology.tenant_moves.expire)
            except TopologyError as error:
                log.warning("the deadlines of moves can't be read: %s", error)
            await asyncio.sleep(self._interval_s)
