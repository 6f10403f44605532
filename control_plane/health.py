"""Probes cells from the control plane, so that a dead cell gets what the ruleset says.

Envoy's own checks take dead endpoints out at once; this tells the *decision* that a whole cell is
down. It never marks more than half of the probed cells down: then it is more likely that the
prober is cut off.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import Counter

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from control_plane.cell_certificates import connect
from control_plane.topology.errors import TopologyError
from control_plane.topology.model import Cell, CellState, Endpoint
from control_plane.topology.service import Topology

log = logging.getLogger(__name__)
FAILURES_TO_DOWN = 3
TIMEOUT_S = 1.0
MAX_PROBES = 64
"""Probes under way at once."""
_PROBED = frozenset({CellState.CANARY, CellState.ACTIVE, CellState.CORDONED, CellState.DRAINING})


class HealthMonitor:
    """Marks cells down after three failed rounds, and up after one good one."""

    def __init__(self, topology: Topology, interval_s: float) -> None:
        self._topology = topology
        self._interval_s = interval_s
        self._failures: Counter[str] = Counter()
        self._slots = asyncio.Semaphore(MAX_PROBES)

    async def run(self) -> None:
        """Probe for ever; an interval of 0 probes nothing."""
        while self._interval_s > 0:
            await asyncio.sleep(self._interval_s)
            try:
                await self.round()
            except (TopologyError, SQLAlchemyError):
                # A cell that was removed meanwhile, a database that is away: the next round tells.
                log.exception("this round of probes came to nothing")

    async def round(self) -> None:
        """Probe each cell that has a health check once, and note what changed."""
        cells = [
            cell
            for cell in await run_in_threadpool(self._topology.cells)
            if cell.health_check_path is not None and cell.state in _PROBED
        ]
        for name in self._failures.keys() - {cell.name for cell in cells}:
            del self._failures[name]
        alive = await asyncio.gather(*(self._alive(cell) for cell in cells))
        for cell, good in zip(cells, alive, strict=True):
            self._failures[cell.name] = 0 if good else self._failures[cell.name] + 1
        down = {c.name for c in cells if self._failures[c.name] >= FAILURES_TO_DOWN}
        if len(down) * 2 > len(cells):
            log.error("%d of %d cells don't answer: not believed", len(down), len(cells))
            return
        for cell in cells:
            healthy = cell.name not in down
            if healthy != cell.healthy:
                log.warning("%s is %s", cell.name, "up" if healthy else "down")
                await run_in_threadpool(
                    self._topology.set_cell_health, cell.name, healthy=healthy, actor="health"
                )

    async def _alive(self, cell: Cell) -> bool:
        for endpoint in cell.endpoints:
            async with self._slots:
                if await _answers(endpoint, cell):
                    return True
        return False


async def _answers(endpoint: Endpoint, cell: Cell) -> bool:
    request = (
        f"GET {cell.health_check_path} HTTP/1.1\r\nhost: {cell.address}\r\n"
        "user-agent: cellway-health\r\nconnection: close\r\n\r\n"
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await connect(endpoint, cell)
            try:
                writer.write(request.encode())
                await writer.drain()
                status = await reader.readline()
            finally:
                writer.close()
    except ssl.SSLError as error:
        log.warning("%s at %s: %s", cell.name, endpoint, error)
        return False
    except (OSError, TimeoutError, ValueError):
        # ValueError: a host or server name from before they were checked, that can't be encoded.
        return False
    parts = status.split()
    return len(parts) > 1 and parts[1].startswith(b"2")
