"""What the metrics show of the database, even while it does not answer.

The problem: most alerts have nothing to do with the database, such as those of Envoys. If a scrape
failed whenever the database does, an operator would be told only that no control plane answers.

The idea: a scrape reads the database in a thread and waits `PATIENCE_S` for it. If that was not
enough, or the read has failed, the scrape shows the last values and says that they are old
(``cellway_database_readable 0``). A read that hangs is not repeated: the next scrape waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from control_plane.metrics.server import DatabaseState
from control_plane.topology import Topology
from control_plane.topology.values.errors import TopologyError

PATIENCE_S = 2.0
"""Prometheus gives a whole scrape 10 s."""


def read_state(topology: Topology) -> DatabaseState:
    """Return what the metrics show of the database, as of now.

    Raises:
        TopologyError: It does not answer.
    """
    snapshot = topology.snapshot()
    leases = topology.open_leases.backlog()
    return DatabaseState(
        cells=snapshot.cells,
        open_leases=leases.open,
        oldest_lease_s=leases.oldest_s,
        moves=topology.tenant_moves.count(),
        sequences={use.cell: use.share for use in topology.sequences.uses()},
        sequences_restored=topology.sequences.high_water_mark().restored,
        ruleset_active=snapshot.ruleset is not None,
    )


class DatabaseReadings:
    """The newest reading, for one event loop."""

    def __init__(self, read: Callable[[], DatabaseState]) -> None:
        """Read nothing yet; ``read`` may block, and raise TopologyError."""
        self._read = read
        # Its thread is its own: calls that wait for the database may have taken all others.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="metrics")
        self._reading: asyncio.Future[DatabaseState] | None = None
        self._newest: DatabaseState | None = None

    async def newest(self) -> tuple[DatabaseState | None, bool]:
        """Return the newest state, None if there was none yet, and whether it is of now."""
        if self._reading is not None and self._reading.done():
            self._take(self._reading)
        if self._reading is None:
            loop = asyncio.get_running_loop()
            self._reading = loop.run_in_executor(self._thread, self._read)
        reading = self._reading
        await asyncio.wait({reading}, timeout=PATIENCE_S)
        is_fresh = reading.done() and self._take(reading)
        return self._newest, is_fresh

    def _take(self, reading: asyncio.Future[DatabaseState]) -> bool:
        """Keep what a reading that has ended has found; return whether it has found anything."""
        if self._reading is reading:
            self._reading = None
        try:
            self._newest = reading.result()
        except TopologyError:
            return False
        return True

    async def close(self) -> None:
        """Wait for a reading that is under way, because its thread uses the database."""
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)
        self._thread.shutdown(wait=False)
