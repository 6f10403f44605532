"""Waits until the whole fleet runs a revision, and says who does.

The Envoys of this process are waited for by its own fleet, which hears each acknowledgement. Those
of other control planes are known by their reports in the database, which are read while somebody
waits (`topology.cells.fleet_reports`). So a replica without Envoys waits for all of them too.

Whoever refuses ends the waiting at once: an Envoy that has refused the revision, or a control plane
that keeps it from its Envoys.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.concurrency import run_in_threadpool

from control_plane.api.problem import ProblemError
from control_plane.topology import Topology
from control_plane.topology.cells.fleet_reports import FleetReport
from control_plane.topology.values.errors import TopologyError
from control_plane.xds.fleet.fleet import Fleet

READ_S = 0.1
"""How often the reports are read while somebody waits, however many wait."""
NOBODY = "no Envoy is connected: nothing was waited for"
NO_SERVER = (
    "nobody was waited for: no server that serves Envoys (the role xds) is known. This one has not"
    " that role; start one that has, or ask it"
)


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a revision has come, at this process's Envoys or at those of several."""

    connected: int = 0
    acknowledged: int = 0
    lagging: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    """The words of Envoys that refuse it, by node id."""
    unpublished: tuple[str, ...] = ()
    """Why control planes keep it from their Envoys."""
    unknown: tuple[str, ...] = ()
    """What is not known, for people."""

    @property
    def is_refused(self) -> bool:
        """Whether waiting on is useless."""
        return bool(self.refused or self.unpublished)

    @property
    def is_done(self) -> bool:
        """Whether all run it, as far as is known."""
        return not (self.lagging or self.unknown or self.is_refused)

    def __add__(self, other: Standing) -> Standing:
        return Standing(
            self.connected + other.connected,
            self.acknowledged + other.acknowledged,
            self.lagging + other.lagging,
            {**self.refused, **other.refused},
            self.unpublished + other.unpublished,
            self.unknown + other.unknown,
        )

    @property
    def summary(self) -> str:
        """A sentence for people: who was waited for."""
        if not self.connected:
            return NOBODY
        return f"acknowledged by {self.acknowledged} of {self.connected} Envoys"

    def as_dict(self) -> dict[str, Any]:
        """Return it as a write's answer shows it."""
        return {
            "connected": self.connected,
            "acknowledged": self.acknowledged,
            "summary": self.summary,
        }


class FleetWait:
    """Waits for all Envoys. For one event loop."""

    def __init__(
        self,
        topology: Topology,
        fleet: Fleet,
        alarm: Callable[[], str | None],
        server: str | None,
    ) -> None:
        """Wait for nobody yet.

        Args:
            topology: Where the reports of other control planes are.
            fleet: The Envoys of this process.
            alarm: Returns why the newest revision may not be published here; None if it is.
            server: The id under which this process reports; None if it serves no Envoys.
        """
        self._fleet = fleet
        self._alarm = alarm
        self._server = server
        self._reports = _Reports(topology)

    async def wait(self, revision: int, timeout_s: float) -> Standing:
        """Wait until every Envoy that is connected somewhere runs a revision; return who does.

        Raises:
            ProblemError: (504) Not all run it in time. (502) An Envoy refuses it, a control plane
                keeps it from its Envoys, or no control plane serves Envoys.
        """
        deadline = time.monotonic() + timeout_s
        others = await self._others(revision)
        if self._server is None and others is None:
            raise _failed(revision, 502, NO_SERVER, "no-fleet", Standing())
        tasks = [asyncio.create_task(self._until_others(revision, deadline))]
        if self._server is not None:
            tasks.append(asyncio.create_task(self._until_own(revision, timeout_s)))
        try:
            for first in asyncio.as_completed(tasks):
                if not (await first).is_done:
                    break
        finally:
            for task in tasks:
                task.cancel()
        standing = self._own(revision) + (await self._others(revision) or Standing())
        if standing.is_done:
            return standing
        raise _problem(revision, standing, timeout_s)

    async def _until_own(self, revision: int, timeout_s: float) -> Standing:
        started = time.monotonic()
        if await self._fleet.publication.wait(revision, timeout_s):
            await self._fleet.wait(revision, max(0.0, timeout_s - time.monotonic() + started))
        return self._own(revision)

    def _own(self, revision: int) -> Standing:
        """Return the standing of this process's Envoys."""
        if self._server is None:
            return Standing()
        fleet, lagging = self._fleet, self._fleet.lagging(revision)
        connected, why = fleet.connected_nodes, fleet.publication.why_not(revision)
        unknown: tuple[str, ...] = ()
        if fleet.publication.revision < revision and not why:
            unknown = (f"this server has not published it: {self._alarm() or 'it is late'}",)
        return Standing(
            connected,
            connected - len(lagging),
            lagging,
            fleet.refusals(revision),
            (why,) if why else (),
            unknown,
        )

    async def _until_others(self, revision: int, deadline: float) -> Standing:
        while True:
            standing = await self._others(revision) or Standing()
            if standing.is_done or standing.is_refused or time.monotonic() >= deadline:
                return standing
            await asyncio.sleep(READ_S)

    async def _others(self, revision: int) -> Standing | None:
        """Return the standing of the Envoys of others; None if no other serves Envoys."""
        try:
            reports = await self._reports.newest()
        except TopologyError as error:
            return Standing(unknown=(f"what other servers' Envoys run can't be read: {error}",))
        others = [report for server, report in reports.items() if server != self._server]
        if not others:
            return None
        return sum((_standing(report, revision) for report in others), Standing())


class _Reports:
    """The reports of all control planes, read at most every `READ_S`."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._reports: Mapping[str, FleetReport] = {}

    async def newest(self) -> Mapping[str, FleetReport]:
        async with self._lock:
            now = time.monotonic()
            if now - self._read_at >= READ_S:
                self._reports = await run_in_threadpool(self._topology.fleet_reports.fresh)
                self._read_at = now
            return self._reports


def _standing(report: FleetReport, revision: int) -> Standing:
    """Return what a control plane's report says of a revision."""
    if report.unpublished is not None and report.published < revision <= report.unpublished[0]:
        why = f"{report.name}: {report.unpublished[1]}"
        return Standing(report.nodes, lagging=report.lagging, unpublished=(why,))
    if report.published < revision:
        silent = f"{report.name} has last reported {report.age_s:.1f} s ago, without the revision"
        return Standing(report.nodes, unknown=(silent,))
    if report.acked >= revision or not report.nodes:
        return Standing(report.nodes, report.nodes)
    lagging = report.lagging or (f"an Envoy of {report.name}",)
    return Standing(report.nodes, report.running, lagging, report.refused)


def _problem(revision: int, standing: Standing, timeout_s: float) -> ProblemError:
    """Return the error for a revision that not all of the fleet runs."""
    if standing.unpublished:
        why = "; ".join(standing.unpublished)
        return _failed(revision, 502, f"it reaches no Envoy: {why}", "not-published", standing)
    if standing.refused:
        detail = f"{_count(standing.refused)} it; {standing.summary}"
        return _failed(revision, 502, detail, "fleet-refused", standing)
    late = "; ".join((standing.summary, *standing.unknown))
    detail = f"after {timeout_s:g} s not all of the fleet runs it: {late}"
    return _failed(revision, 504, detail, "fleet-lags", standing)


def _count(nodes: Collection[str]) -> str:
    return f"{len(nodes)} Envoys refuse" if len(nodes) > 1 else "an Envoy refuses"


def _failed(revision: int, status: int, detail: str, code: str, standing: Standing) -> ProblemError:
    members: dict[str, Any] = {
        "revision": revision,
        "connected": standing.connected,
        "acknowledged": standing.acknowledged,
        "nodes": list(standing.lagging),
    }
    if standing.refused:
        members["refused"] = [
            {"node": node, "error": words} for node, words in sorted(standing.refused.items())
        ]
    return ProblemError(status, f"committed as revision {revision}; {detail}", code=code, **members)
