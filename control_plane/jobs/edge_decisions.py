"""Brings the edges' reports into the database, where they decide which cells are up.

The edges that report to this control plane are counted in a book (`edge_health.book`). Whenever the
counts of cells change they are written to the database as this control plane's report, and in the
same transaction it is decided by the reports of all control planes (`topology.cells.edge_health`).
A report counts only while it is fresh, so an unchanged one is written again every few seconds.

A cell must not flap, and a fleet must not be judged by its first edge. So reports are gathered for
a moment before the first one is written, and a cell that has just changed is left for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Mapping

from starlette.concurrency import run_in_threadpool

from control_plane.edge_health.book import Book
from control_plane.names import CELL_CLUSTERS
from control_plane.topology import Topology
from control_plane.topology.cells.edge_health import Decided
from control_plane.topology.values.errors import Contention, Unavailable

log = logging.getLogger(__name__)
TICK_S = 1.0
"""How often to look for reports that have become old, and for decisions that were put off."""
PAUSE_S = 0.2
"""The pause between two decisions: a whole fleet reports a dead endpoint within a second."""
REFRESH_S = 3.0
"""How often an unchanged report is written."""
GATHER_S = 1.0
"""How long to wait after an edge's first report: the rest of a fleet that comes back follows."""
HOLD_S = 2.0
"""How long a cell's health stays at least after it has changed."""
WITHDRAW_S = 2.0
"""How long a control plane that stops may take to withdraw its report."""
MAX_RETRY_PAUSE_S = 2.0
"""The longest pause between steps that fail."""
_Report = Mapping[str, tuple[int, int]]
"""By the cell's name, how many edges can reach it and how many can't."""


class EdgeDecisions:
    """Reports by one book. For one event loop."""

    def __init__(
        self,
        topology: Topology,
        book: Book,
        clock: Callable[[], float] = time.monotonic,
        *,
        connected: Callable[[], int] = lambda: 0,
        settle_s: float = GATHER_S,
    ) -> None:
        """Report nothing yet; `run` does.

        Args:
            topology: whose cells are decided on.
            book: the reports of the edges that are connected here. It calls us on each change.
            clock: monotonic seconds, the book's.
            connected: returns how many Envoys are connected, whether or not they report.
            settle_s: how long to wait after an edge's first report.
        """
        self._topology = topology
        self._book = book
        self._clock = clock
        self._connected = connected
        self._settle_s = settle_s
        self._replica = str(uuid.uuid4())
        self._changed = asyncio.Event()
        book.on_change = self._changed.set
        self._settled_at: float | None = None
        """When enough reports were or will be gathered; None while nobody reports."""
        self._written: _Report | None = None
        """The report in the database; None before the first."""
        self._may_be_written = False
        """Whether a report is there, or was on its way there when the task was cancelled."""
        self._written_silent = 0
        self._refresh_at = 0.0
        self._decided_at: dict[str, float] = {}
        """When the health of each cell last changed, for the last `HOLD_S`."""
        self._put_off = False
        """Whether a decision waits for the end of a cell's hold."""
        self._disbelieved: frozenset[str] = frozenset()
        self.failures = 0
        """How many steps in a row have failed."""

    async def run(self) -> None:
        """Report until cancelled; then withdraw the report.

        Raises:
            DatabaseFailed: the database refuses a statement. Whatever is raised, the next run
                writes what the book holds then.
        """
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TICK_S):
                        await self._changed.wait()
                self._changed.clear()
                await self._guarded_step()
        except asyncio.CancelledError:
            if self._may_be_written:
                await self._withdraw()
            raise

    async def _withdraw(self) -> None:
        """Withdraw the report. If the database is away, the report becomes old by itself."""
        try:
            async with asyncio.timeout(WITHDRAW_S):
                await run_in_threadpool(self._topology.edge_health.withdraw, self._replica)
        except Exception:
            log.warning(
                "this control plane's report of cells could not be withdrawn; it expires by itself",
                exc_info=True,
            )

    async def _guarded_step(self) -> None:
        try:
            await self.step()
        except (Unavailable, Contention) as error:
            # The database is away. What the book holds is written when it is back.
            self.failures += 1
            self._changed.set()
            log.warning("the edges' reports could not be written; trying again: %s", error)
            await asyncio.sleep(min(MAX_RETRY_PAUSE_S, PAUSE_S * 2 ** min(self.failures, 10)))
        else:
            self.failures = 0
            await asyncio.sleep(PAUSE_S)

    async def step(self) -> None:
        """Write the report, and decide, if anything has changed or is due again."""
        now = self._clock()
        await self._age(now)
        counts = self._book.counts_under(CELL_CLUSTERS)
        report = {name: (count.up, count.down) for name, count in counts.items()}
        silent = max(0, self._connected() - len(self._book.nodes))
        if not self._has_settled(report, now) or not self._is_due(report, silent, now):
            return
        self._decided_at = {name: at for name, at in self._decided_at.items() if now - at < HOLD_S}
        note = self._topology.edge_health.note
        on_hold = self._decided_at.keys()
        self._may_be_written = True
        decided = await run_in_threadpool(
            note, self._replica, report, silent=silent, on_hold=on_hold
        )
        self._written, self._written_silent = report, silent
        self._refresh_at = now + REFRESH_S
        self._record(decided, now)

    async def _age(self, now: float) -> None:
        """Stop counting old reports; other work runs between those of a large fleet."""
        while True:
            if not self._book.age(now):
                return
            await asyncio.sleep(0)

    def _has_settled(self, report: _Report, now: float) -> bool:
        if not report:
            self._settled_at = None
            return True
        if self._settled_at is None:
            self._settled_at = now + self._settle_s
        return now >= self._settled_at

    def _is_due(self, report: _Report, silent: int, now: float) -> bool:
        if not report and not self._written:
            # Nobody reports, and the database says so.
            return False
        changed = (report, silent) != (self._written, self._written_silent)
        return changed or now >= self._refresh_at or self._put_off

    def _record(self, decided: Decided, now: float) -> None:
        """Remember and log what a decision has changed, and what it has not."""
        self._put_off = bool(decided.put_off)
        if decided.disbelieved and not self._disbelieved:
            count = len(decided.disbelieved)
            log.error("most edges can't reach %d cells that others can: not believed", count)
        self._disbelieved = decided.disbelieved
        for name, up in decided.changed.items():
            self._decided_at[name] = now
            log.warning("%s is %s, by the edges' reports", name, "up" if up else "down")
