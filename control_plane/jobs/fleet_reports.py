"""Reports what the Envoys of this control plane run, so that others can wait for them too.

The report is written when it changes, at most `PAUSE_S` apart, and every `REFRESH_S` so that it
stays fresh (`topology.cells.fleet_reports`). It also names the Envoys that have left, and which of
those that others miss are connected here. A database that is away costs nothing but the report.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence

from starlette.concurrency import run_in_threadpool

from control_plane.topology import Topology
from control_plane.topology.cells.fleet_reports import FleetReport
from control_plane.topology.values.errors import Contention, Unavailable

log = logging.getLogger(__name__)
PAUSE_S = 0.25
"""How often to look for a change, and so the least time between two reports."""
REFRESH_S = 2.0
"""How often an unchanged report is written."""
LAST_WORD_S = 2.0
"""How long a control plane that stops may take to withdraw its report."""
LONGEST_PAUSE_S = 2.0
"""The longest pause between reports that fail."""


Others = Sequence[FleetReport]
"""The reports of all other control planes."""


class FleetReporter:
    """Writes the reports of one control plane. For one event loop."""

    def __init__(
        self,
        topology: Topology,
        server: str,
        report: Callable[[Others], FleetReport],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Report nothing yet; `run` does.

        Args:
            topology: Where reports go.
            server: The control plane's own id.
            report: Returns what its Envoys run now, given the newest reports of others.
            clock: Monotonic seconds.
        """
        self._topology = topology
        self._server = server
        self._report = report
        self._clock = clock
        self._others: Others = ()
        self._written: FleetReport | None = None
        self._refresh_at = 0.0

    async def run(self) -> None:
        """Report until cancelled; then withdraw the report.

        Raises:
            DatabaseFailed: The database refuses a statement.
        """
        pause_s = PAUSE_S
        try:
            while True:
                try:
                    await self.step()
                    pause_s = PAUSE_S
                except (Unavailable, Contention) as error:
                    pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
                    log.warning("what the Envoys run could not be reported: %s", error)
                await asyncio.sleep(pause_s)
        except asyncio.CancelledError:
            await self._withdraw()
            raise

    async def step(self) -> None:
        """Write the report, if it has changed or is due again."""
        now = self._clock()
        if now >= self._refresh_at:
            reports = await run_in_threadpool(self._topology.fleet_reports.fresh)
            self._others = [one for server, one in reports.items() if server != self._server]
        report = self._report(self._others)
        if report == self._written and now < self._refresh_at:
            return
        await run_in_threadpool(self._topology.fleet_reports.note, self._server, report)
        self._written, self._refresh_at = report, now + REFRESH_S

    async def _withdraw(self) -> None:
        """Withdraw the report. If the database is away, the report becomes old by itself."""
        with contextlib.suppress(Exception):
            async with asyncio.timeout(LAST_WORD_S):
                await run_in_threadpool(self._topology.fleet_reports.withdraw, self._server)
