"""Reads the state of a control plane for each scrape of ``/metrics``."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from control_plane.edge_health.book import Count
from control_plane.metrics.claim_counts import ClaimCounts
from control_plane.metrics.server import State
from control_plane.names import CELL_CLUSTERS, CLASSIFIER_CLUSTER
from control_plane.server.database_readings import DatabaseReadings, read_state
from control_plane.server.foundation import Foundation
from control_plane.xds.session.status import SyncState

Alarm = Callable[[], str | None]
"""Returns why some Envoy does not get the newest revision; None if nothing keeps it from that."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """The parts that a scrape reads."""

    foundation: Foundation
    alarm: Alarm
    readings: DatabaseReadings
    counts: ClaimCounts

    @classmethod
    def of(cls, foundation: Foundation, alarm: Alarm) -> Scrape:
        """Return the scrape of a foundation's parts."""
        topology = foundation.topology
        readings = DatabaseReadings(partial(read_state, topology))
        return cls(foundation, alarm, readings, ClaimCounts(topology.claims.count, time.monotonic))

    async def text(self) -> bytes:
        """Return the metrics as of now, as Prometheus reads them."""
        state = await self._read()
        # Calls that wait for the database may have taken all threads of the pool for calls.
        return await asyncio.to_thread(self.foundation.metrics.render, state)

    async def _read(self) -> State:
        """Read the database in threads, and what belongs to the event loop on it."""
        database, is_fresh = await self.readings.newest()
        claims = await self.counts.get() if is_fresh else self.counts.newest
        fleet, edges = self.foundation.fleet, self.foundation.edges
        fleet.give_up_late()
        nodes = fleet.nodes()
        by_state = Counter(node.state for node in nodes)
        reports = edges.counts_under(CELL_CLUSTERS)
        classifiers = edges.counts.get(CLASSIFIER_CLUSTER, Count())
        return State(
            nodes={state: by_state[state] for state in SyncState},
            outdated_nodes=sum(node.connected and bool(node.outdated) for node in nodes),
            reporters=len(edges.nodes),
            reports={cell: (count.up, count.down) for cell, count in reports.items()},
            classifiers=(classifiers.up, classifiers.down),
            claims=claims,
            database=database,
            database_readable=is_fresh,
            publication_refused=self.alarm() is not None,
        )

    async def close(self) -> None:
        """Wait for reads that are under way: their threads use the database."""
        await self.readings.close()
        await self.counts.close()
