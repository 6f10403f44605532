"""Reads the state of a control plane for each scrape of ``/metrics``."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool

from control_plane.jobs.edge_decisions import of_cells
from control_plane.metrics.claim_counts import ClaimCounts
from control_plane.metrics.server import State
from control_plane.server.foundation import Foundation

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
        """Return the metrics as of now, as Prometheus reads them.

        The database is read in threads. The fleet and the book of edges belong to the event loop,
        so they are read on it.
        """
        topology, fleet, edges = (
            self.foundation.topology, self.foundation.fleet, self.foundation.edges,
        )  # fmt: skip
        snapshot = await run_in_threadpool(topology.snapshot)
        leases = await run_in_threadpool(topology.open_leases.backlog)
        sequences = await run_in_threadpool(topology.sequences.uses)
        mark = await run_in_threadpool(topology.sequences.high_water_mark)
        claims = await self.counts.get()
        fleet.give_up_late()
        state = State(
            nodes=fleet.nodes(),
            cells=snapshot.cells,
            claims=claims,
            ruleset_active=snapshot.ruleset is not None,
            publication_refused=self.alarm() is not None,
            leases=leases,
            sequences=sequences,
            sequences_restored=mark.restored,
            reporters=len(edges.nodes),
            edges=of_cells(edges.counts),
        )
        return await run_in_threadpool(self.foundation.metrics.render, state)

    async def close(self) -> None:
        """Wait for a count of claims that is under way: its thread uses the database."""
        await self.counts.close()
