"""Probes the cells that no edge reports on, and records which of them are up.

Envoy's own health checks take dead endpoints out at once. A cell's health in the topology is for
the *decision*: requests for a cell that is down get what the ruleset says. Wherever edges report
what they can reach, they decide it (`edge_decisions`), since requests go through them. For a cell
that no edge reports on, the control plane probes by itself. It never marks more than half of the
probed cells down: then it is more likely cut off itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool

from control_plane.jobs.cell_probe import CellProbe
from control_plane.topology import Topology
from control_plane.topology.cells.edge_health import FRESH, KEPT, PROBED
from control_plane.topology.values.cell import Cell
from control_plane.topology.values.errors import Contention, Unavailable

log = logging.getLogger(__name__)
FAILURES_TO_DOWN = 3
"""A cell is down after so many failed rounds in a row, and up after one good one."""
REPORTERS_RETURN_S = 10.0
"""How long old reports of edges go on counting after a start, or after a time without a database in
which no report could be written."""
MAX_PAUSE_S = 30.0
"""The longest pause between rounds that fail."""


class HealthMonitor:
    """Probes regularly. A cell that can't be probed and that no edge reports on counts as up."""

    def __init__(
        self,
        topology: Topology,
        interval_s: float,
        clock: Callable[[], float] = time.monotonic,
        *,
        names: bool = True,
    ) -> None:
        """Make a monitor; `run` starts it.

        Args:
            topology: whose cells are probed.
            interval_s: the pause between two rounds; 0: don't probe.
            clock: monotonic seconds.
            names: whether to probe cells at DNS names. If the edges ask other DNS servers, what
                this machine makes of a name says nothing.
        """
        self._topology = topology
        self._interval_s = interval_s
        self._clock = clock
        self._names = names
        self._probe = CellProbe(topology.endpoint_policy)
        self._old_reports_until = clock() + REPORTERS_RETURN_S
        self._failures: Counter[str] = Counter()
        """By the cell's name, in how many rounds in a row it did not answer."""
        self._believed = True
        """Whether the last round's result was believed."""
        self.failed_rounds = 0
        """How many rounds in a row found no database."""

    async def run(self) -> None:
        """Probe until cancelled.

        Raises:
            DatabaseFailed: the database refuses a statement, such as to write what has changed.
            Exception: a cell is stored that nobody foresaw. One that can't be probed is down, and
                does no harm to the others.
        """
        while self._interval_s > 0:
            pause = self._interval_s * 2 ** min(self.failed_rounds, 10)
            await asyncio.sleep(min(pause, max(MAX_PAUSE_S, self._interval_s)))
            try:
                await self.round()
            except (Unavailable, Contention) as error:
                # The database is away. The next round will show.
                self.failed_rounds += 1
                self._await_reports()
                log.warning("this round of probes has failed; the next one tries again: %s", error)
            except Exception:
                self._await_reports()
                raise
            else:
                self.failed_rounds = 0

    def _await_reports(self) -> None:
        """Have old reports of edges count for a while: new ones may have failed to be written."""
        self._old_reports_until = self._clock() + REPORTERS_RETURN_S

    async def round(self) -> None:
        """Probe each cell that no edge reports on, and record what has changed."""
        fresh_only = self._clock() >= self._old_reports_until
        verdicts = self._topology.edge_health.verdicts
        reported = await run_in_threadpool(verdicts, FRESH if fresh_only else KEPT)
        unreported = [
            cell
            for cell in await run_in_threadpool(self._topology.cells.all)
            if cell.state in PROBED and cell.name not in reported
        ]
        health = await self._probe_all([cell for cell in unreported if self._can_probe(cell)])
        # A cell that can't be probed is taken down by edges only.
        health |= {cell.name: True for cell in unreported if not self._can_probe(cell)}
        if any(health.get(cell.name, cell.healthy) != cell.healthy for cell in unreported):
            changed = await run_in_threadpool(self._topology.edge_health.probed, health)
            for name, up in changed.items():
                log.warning("%s is %s, by our own probe", name, "up" if up else "down")

    def _can_probe(self, cell: Cell) -> bool:
        by_address = all(endpoint.is_ip for endpoint in cell.endpoints)
        return cell.health_check_path is not None and (self._names or by_address)

    async def _probe_all(self, cells: list[Cell]) -> dict[str, bool]:
        """Return by name whether cells are up; nothing if the result is not believed."""
        for name in self._failures.keys() - {cell.name for cell in cells}:
            del self._failures[name]
        answers = await asyncio.gather(*(self._probe.is_up(cell) for cell in cells))
        for cell, up in zip(cells, answers, strict=True):
            self._failures[cell.name] = 0 if up else self._failures[cell.name] + 1
        health = {cell.name: self._failures[cell.name] < FAILURES_TO_DOWN for cell in cells}
        down = sum(not up for up in health.values())
        believed = down * 2 <= len(cells)
        if self._believed and not believed:
            log.error("%d of %d cells don't answer: not believed", down, len(cells))
        self._believed = believed
        return health if believed else {}
