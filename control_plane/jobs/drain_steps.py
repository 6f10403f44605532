"""Makes the steps of drains when they are due, and ends drains that have expired.

Each control plane does so; the database makes sure that a step is made once (`topology.drains`).
"""

from __future__ import annotations

import asyncio
import logging

from starlette.concurrency import run_in_threadpool

from control_plane.topology import Topology
from control_plane.topology.values.drain import DrainState
from control_plane.topology.values.errors import Contention, Unavailable

log = logging.getLogger(__name__)
PAUSE_S = 0.5
"""How often to look for steps that are due; an interval is a second at least."""
LONGEST_WAIT_S = 5.0
"""The longest pause between looks that fail."""


class DrainSteps:
    """Looks for steps that are due. For one event loop."""

    def __init__(self, topology: Topology) -> None:
        """Do nothing yet; `run` does."""
        self._topology = topology

    async def run(self) -> None:
        """Make steps until cancelled. A database that is away only delays them."""
        pause_s = PAUSE_S
        while True:
            try:
                await self._look()
                pause_s = PAUSE_S
            except (Contention, Unavailable) as error:
                pause_s = min(2 * pause_s, LONGEST_WAIT_S)
                log.warning("steps of drains are late: %s", error)
            await asyncio.sleep(pause_s)

    async def _look(self) -> None:
        for drain in await run_in_threadpool(self._topology.drains.advance):
            log.info("drain %s of %s: %s %%, %s", drain.id, drain.cell, drain.share, drain.state)
            if drain.state is DrainState.PAUSED:
                log.warning("drain %s of %s is paused: %s", drain.id, drain.cell, drain.detail)
