"""Reads the state of a control plane for each scrape of ``/metrics``."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool

from control_plane.edge_health.book import Count
from control_plane.metrics.claim_counts import ClaimCounts
from control_plane.metrics.server import State
from control_plane.names import CELL_CLUSTERS, CLASSIFIER_CLUSTER
from control_plane.server.foundation import Foundation
from control_plane.xds.session.status import SyncState

Alarm = Callable[[], str | None]
"""Returns why some Envoy does not get the newest revision; None if nothing keeps it from that."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """The parts that a scrape reads."""

    foundation: Foundation
    alarm: Alarm
    counts: ClaimCounts

    @classmethod
    def of(cls, foundation: Foundation, alarm: Alarm) -> Scrape:
        """Return the scrape of a foundation's parts."""
        return cls(foundation, alarm, ClaimCounts(foundation.topology.claims.count, time.monotonic))

    async def text(self) -> bytes:
        """Return the metrics as of now, as Prometheus reads them."""
        state = await self._read()
        return await run_in_threadpool(self.foundation.metrics.render, state)

    async def _read(self) -> State:
        """Read the database in threads, and what belongs to the event loop on it."""
        topology = self.foundation.topology
        snapshot = await run_in_threadpool(topology.snapshot)
        leases = await run_in_threadpool(topology.open_leases.backlog)
        moves = await run_in_threadpool(topology.tenant_moves.count)
        sequences = await run_in_threadpool(topology.sequences.uses)
        mark = await run_in_threadpool(topology.sequences.high_water_mark)
        claims = await self.counts.get()
        fleet, edges = self.foundation.fleet, self.foundation.edges
        fleet.give_up_late()
        nodes = fleet.nodes()
        by_state = Counter(node.state for node in nodes)
        reports = edges.counts_under(CELL_CLUSTERS)
        classifiers = edges.counts.get(CLASSIFIER_CLUSTER, Count())
        return State(
            nodes={state: by_state[state] for state in SyncState},
            outdated_nodes=sum(node.connected and bool(node.outdated) for node in nodes),
            cells=snapshot.cells,
            reporters=len(edges.nodes),
            reports={cell: (count.up, count.down) for cell, count in reports.items()},
            classifiers=(classifiers.up, classifiers.down),
            claims=claims,
            open_leases=leases.open,
            oldest_lease_s=leases.oldest_s,
            moves=moves,
            sequences={use.cell: use.share for use in sequences},
            sequences_restored=mark.restored,
            ruleset_active=snapshot.ruleset is not None,
            publication_refused=self.alarm() is not None,
        )

    async def close(self) -> None:
        """Wait for a count of claims that is under way: its thread uses the database."""
        await self.counts.close()
