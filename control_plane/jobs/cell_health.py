"""Decides whether cells are up, so that a dead cell gets what the ruleset says.

Envoy's own checks take dead endpoints out at once; this tells the *decision* that a whole cell is
down. The edges decide it, where any of them reports what it holds (`EdgeDecisions`): requests go
where they can reach. For a cell of which no edge has a word, the control plane probes by itself
(`HealthMonitor`); it never marks more than half of the probed cells down, since then it is more
likely that the prober is cut off.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections import Counter
from collections.abc import Callable

import h11
from starlette.concurrency import run_in_threadpool

from control_plane.jobs.cell_certificates import connect
from control_plane.topology import Topology
from control_plane.topology.cells.edge_health import FRESH, KEPT, PROBED
from control_plane.topology.values.cell import Cell
from control_plane.topology.values.endpoint import Endpoint

log = logging.getLogger(__name__)
FAILURES_TO_DOWN = 3
TIMEOUT_S = 1.0
MAX_HEADER_BYTES = 1 << 20
READ_BYTES = 1 << 16
MAX_PROBES = 64
"""Probes under way at once."""
REPORTERS_RETURN_S = 10.0
"""How long a control plane leaves to the edges what they decided last, after its start or after a
time without a database, in which nobody could write down what they hold.
"""
MAX_PAUSE_S = 30.0
"""Between rounds that fail."""


class HealthMonitor:
    """Marks cells of which no edge has a word: down after three failed rounds, up after one good
    one, and up where there is nothing to probe.
    """

    def __init__(
        self,
        topology: Topology,
        interval_s: float,
        clock: Callable[[], float] = time.monotonic,
        *,
        names: bool = True,
    ) -> None:
        """With ``names`` false, cells at DNS names are not probed: Envoys ask other DNS servers."""
        self._names = names
        self._topology = topology
        self._interval_s = interval_s
        self._clock = clock
        self._blind_until = clock() + REPORTERS_RETURN_S
        self._failures: Counter[str] = Counter()
        self._believed = True
        self._slots = asyncio.Semaphore(MAX_PROBES)
        self.failed_rounds = 0
        """In a row."""

    async def run(self) -> None:
        """Probe for ever; an interval of 0 probes nothing."""
        while self._interval_s > 0:
            late = self._interval_s * 2 ** min(self.failed_rounds, 10)
            await asyncio.sleep(min(late, max(MAX_PAUSE_S, self._interval_s)))
            try:
                await self.round()
            except Exception:
                # A database that is away, a cell that nobody foresaw: the next round tells.
                self.failed_rounds += 1
                self._blind_until = self._clock() + REPORTERS_RETURN_S
                log.exception("this round of probes came to nothing")
            else:
                self.failed_rounds = 0

    async def round(self) -> None:
        """Probe each cell that is not the edges' once, and note what changed."""
        alone = self._clock() >= self._blind_until
        verdicts = self._topology.edge_health.verdicts
        theirs = await run_in_threadpool(verdicts, FRESH if alone else KEPT)
        ours = [
            cell
            for cell in await run_in_threadpool(self._topology.cells.all)
            if cell.state in PROBED and cell.name not in theirs
        ]
        found = await self._probe([cell for cell in ours if self._can_probe(cell)])
        # Only edges take down a cell that we can't probe.
        found |= {cell.name: True for cell in ours if not self._can_probe(cell)}
        if any(found.get(cell.name, cell.healthy) != cell.healthy for cell in ours):
            changed = await run_in_threadpool(self._topology.edge_health.probed, found)
            for name, up in changed.items():
                log.warning("%s is %s, by our own probe", name, "up" if up else "down")

    def _can_probe(self, cell: Cell) -> bool:
        known = self._names or all(endpoint.is_ip for endpoint in cell.endpoints)
        return cell.health_check_path is not None and known

    async def _probe(self, cells: list[Cell]) -> dict[str, bool]:
        """By name, whether cells are up; nothing if what was found is not believed."""
        for name in self._failures.keys() - {cell.name for cell in cells}:
            del self._failures[name]
        alive = await asyncio.gather(*(self._alive(cell) for cell in cells))
        for cell, good in zip(cells, alive, strict=True):
            self._failures[cell.name] = 0 if good else self._failures[cell.name] + 1
        found = {cell.name: self._failures[cell.name] < FAILURES_TO_DOWN for cell in cells}
        down = sum(not up for up in found.values())
        believed = down * 2 <= len(cells)
        if self._believed and not believed:
            log.error("%d of %d cells don't answer: not believed", down, len(cells))
        self._believed = believed
        return found if believed else {}

    async def _alive(self, cell: Cell) -> bool:
        for endpoint in cell.endpoints:
            async with self._slots:
                if await _answers(endpoint, cell):
                    return True
        return False


async def _answers(endpoint: Endpoint, cell: Cell) -> bool:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await connect(endpoint, cell)
            try:
                status = await _exchange(reader, writer, cell)
            finally:
                writer.close()
    except ssl.SSLError as error:
        log.warning("%s at %s: %s", cell.name, endpoint, error)
        return False
    except (OSError, TimeoutError, ValueError, h11.ProtocolError):
        # ValueError: a host or server name from before they were checked, that can't be encoded.
        return False
    return 200 <= status < 300


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cell: Cell) -> int:
    """Ask, and return the final status once the whole answer has come, as Envoy waits for that.

    0: the cell has closed without an answer.
    """
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER_BYTES)
    headers = [("host", cell.address), ("user-agent", "cellway-health"), ("connection", "close")]
    request = h11.Request(method="GET", target=cell.health_check_path or "/", headers=headers)
    for part in (request, h11.EndOfMessage()):
        writer.write(connection.send(part) or b"")
    await writer.drain()
    status = 0
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(READ_BYTES))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif not isinstance(event, h11.InformationalResponse | h11.Data):
            return status
