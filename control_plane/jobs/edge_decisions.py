"""Follows what the edges hold: a cell that most of them can't reach is down.

The edges that report to this control plane are counted in a book; what they hold of cells goes,
whenever it changes, into the database, where it is decided together with what other control planes
hear (`topology.edge_health`). An unchanged word is written again every few seconds, so that others
know that it still counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Mapping

from starlette.concurrency import run_in_threadpool

from control_plane.edge_health.book import Book, Count
from control_plane.names import CELL_CLUSTERS
from control_plane.topology import Topology

log = logging.getLogger(__name__)
TICK_S = 1.0
"""How often it is looked for reports that have become old, and for decisions that were put off."""
PAUSE_S = 0.2
"""Between two decisions: a dead endpoint is reported by a whole fleet within a second."""
REFRESH_S = 3.0
"""How often an unchanged word is written."""
GATHER_S = 1.0
"""After the first report: the others of a fleet that comes back are on their way."""
HOLD_S = 2.0
"""How long a cell stays as it was decided at least."""
WITHDRAW_S = 2.0
"""How long a control plane that stops may take to say so."""
MAX_RETRY_PAUSE_S = 2.0
"""Between tries that fail."""


def of_cells(counts: Mapping[str, Count]) -> dict[str, Count]:
    """The counts of cells' clusters, by the cell's name."""
    return {
        cluster.removeprefix(CELL_CLUSTERS): count
        for cluster, count in counts.items()
        if cluster.startswith(CELL_CLUSTERS)
    }


class EdgeDecisions:
    """Decides by one book, for one event loop."""

    def __init__(
        self,
        topology: Topology,
        book: Book,
        clock: Callable[[], float] = time.monotonic,
        *,
        connected: Callable[[], int] = lambda: 0,
        settle_s: float = GATHER_S,
    ) -> None:
        """``connected`` says how many Envoys are connected, whether or not they report."""
        self._connected = connected
        self._topology = topology
        self._book = book
        self._clock = clock
        self._settle_s = settle_s
        self._replica = str(uuid.uuid4())
        self._changed = asyncio.Event()
        book.on_change = self._changed.set
        self._settled_at: float | None = None
        self._written: dict[str, tuple[int, int]] | None = None
        self._silent = 0
        """What stands in the database; None: nothing of ours does."""
        self._due = 0.0
        self._decided_at: dict[str, float] = {}
        self._put_off = False
        self._disbelieved: frozenset[str] = frozenset()
        self.failures = 0
        """Steps that failed, in a row."""

    async def run(self) -> None:
        """Until cancelled; then our word no longer counts."""
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TICK_S):
                        await self._changed.wait()
                self._changed.clear()
                await self._guarded_step()
        finally:
            if self._written is not None:
                await self._withdraw()

    async def _withdraw(self) -> None:
        """Take our word back; if the database is away, it becomes old by itself."""
        try:
            async with asyncio.timeout(WITHDRAW_S):
                await run_in_threadpool(self._topology.edge_health.withdraw, self._replica)
        except Exception:
            log.warning("what the edges held could not be taken back", exc_info=True)

    async def _guarded_step(self) -> None:
        try:
            await self.step()
        except Exception:
            # A database that is away: what the book holds is written when it is back.
            self.failures += 1
            self._changed.set()
            log.exception("what the edges hold could not be written down")
            await asyncio.sleep(min(MAX_RETRY_PAUSE_S, PAUSE_S * 2 ** min(self.failures, 10)))
        else:
            self.failures = 0
            await asyncio.sleep(PAUSE_S)

    async def step(self) -> None:
        """Write what has changed, or is to be written again, and decide."""
        now = self._clock()
        self._book.age(now)
        counts = {
            name: (count.up, count.down) for name, count in of_cells(self._book.counts).items()
        }
        if not self._has_settled(counts, now):
            return
        silent = max(0, self._connected() - len(self._book.nodes))
        same = (counts, silent) == (self._written, self._silent)
        if same and now < self._due and not self._put_off:
            return
        if not counts and not self._written:
            # Nobody reports, and that is what stands there.
            return
        self._decided_at = {name: at for name, at in self._decided_at.items() if now - at < HOLD_S}
        note = self._topology.edge_health.note
        held = self._decided_at.keys()
        decided = await run_in_threadpool(note, self._replica, counts, silent=silent, held=held)
        self._written, self._silent, self._due = counts, silent, now + REFRESH_S
        self._put_off = bool(decided.put_off)
        if decided.disbelieved and not self._disbelieved:
            count = len(decided.disbelieved)
            log.error("most edges can't reach %d cells that others can: not believed", count)
        self._disbelieved = decided.disbelieved
        for name, up in decided.changed.items():
            self._decided_at[name] = now
            log.warning("%s is %s, by what the edges hold", name, "up" if up else "down")

    def _has_settled(self, counts: Mapping[str, object], now: float) -> bool:
        if not counts:
            self._settled_at = None
            return True
        if self._settled_at is None:
            self._settled_at = now + self._settle_s
        return now >= self._settled_at
