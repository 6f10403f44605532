"""Who is waited for: this process's Envoys, and those of all other control planes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.api.fleet_wait import NOBODY, FleetWait
from control_plane.api.problem import ProblemError
from control_plane.topology import Topology
from control_plane.topology.cells.fleet_reports import FleetReport
from control_plane.xds.fleet.fleet import Fleet
from control_plane.xds.session.delta import DeltaSession

SOON_S, LONG_S = 0.05, 20.0


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    made = Topology.open(f"sqlite:///{tmp_path}/d.db")
    yield made
    made.close()


def waits(
    topology: Topology, fleet: Fleet | None = None, *, server: str | None = "own"
) -> FleetWait:
    return FleetWait(topology, fleet or Fleet(), lambda: "the database is slow", server)


def fleet_at(*acked: int, published: int = 7) -> Fleet:
    """Return a fleet with an Envoy for each acknowledged revision."""
    fleet = Fleet()
    fleet.publication.published(published)
    for number, revision in enumerate(acked):
        session = DeltaSession()
        session.acked_revision = revision
        fleet.connected(f"edge-{number}", "edge", "1.40.0", session)
    return fleet


async def refused(wait: FleetWait, timeout_s: float = LONG_S) -> ProblemError:
    with pytest.raises(ProblemError) as error:
        await wait.wait(7, timeout_s)
    return error.value


async def test_all_envoys_are_counted(topology: Topology) -> None:
    topology.fleet_reports.note("b", FleetReport("b:1", 8, 8, 2, 2))
    standing = await waits(topology, fleet_at(7, 9)).wait(7, LONG_S)
    assert standing.summary == "acknowledged by 4 of 4 Envoys"


async def test_no_envoy_is_no_acknowledgement(topology: Topology) -> None:
    standing = await waits(topology, fleet_at()).wait(7, LONG_S)
    assert (standing.acknowledged, standing.summary) == (0, NOBODY)


async def test_without_any_server_for_envoys_nobody_is_waited_for(topology: Topology) -> None:
    error = await refused(waits(topology, server=None))
    assert (error.status, error.members["code"]) == (502, "no-fleet")
    assert "nobody was waited for" in error.detail


async def test_a_server_without_envoys_waits_for_those_of_others(topology: Topology) -> None:
    note = topology.fleet_reports.note
    note("b", FleetReport("b:1", 6, 6, 2, 2))
    waiting = asyncio.create_task(waits(topology, server=None).wait(7, LONG_S))
    note("c", FleetReport("c:1", 7, 7, 0))
    note("b", FleetReport("b:1", 7, 6, 2, 1, ("edge-b",)))
    assert not waiting.done()
    note("b", FleetReport("b:1", 8, 7, 2, 0, ("edge-a", "edge-b")))
    assert (await waiting).summary == "acknowledged by 2 of 2 Envoys"


async def test_the_report_of_this_server_itself_is_not_counted_again(topology: Topology) -> None:
    topology.fleet_reports.note("own", FleetReport("a:1", 6, 6, 1, 1))
    assert (await waits(topology, fleet_at(7)).wait(7, LONG_S)).connected == 1


async def test_a_refusal_by_an_envoy_of_another_server_ends_the_waiting(topology: Topology) -> None:
    words = {"edge-b": "cell:x: no such file"}
    report = FleetReport("b:1", 7, 6, 2, 1, ("edge-b",), words)
    topology.fleet_reports.note("b", report)
    error = await refused(waits(topology, fleet_at(6)))
    assert (error.status, error.members["code"]) == (502, "fleet-refused")
    assert error.members["refused"] == [{"node": "edge-b", "error": "cell:x: no such file"}]
    assert (error.members["acknowledged"], error.members["connected"]) == (1, 3)


async def test_a_server_that_keeps_the_revision_back_ends_the_waiting(topology: Topology) -> None:
    fleet = fleet_at(6, published=6)
    fleet.publication.refused(7, "most cells are gone")
    error = await refused(waits(topology, fleet))
    assert (error.status, error.members["code"]) == (502, "not-published")
    assert "most cells are gone" in error.detail
    report = FleetReport("b:1", 6, 6, 1, 1, unpublished=(7, "a ruleset can't be compiled"))
    topology.fleet_reports.note("b", report)
    error = await refused(waits(topology, server=None))
    assert "b:1: a ruleset can't be compiled" in error.detail


async def test_who_is_late_is_named(topology: Topology) -> None:
    error = await refused(waits(topology, fleet_at(6, 7)), SOON_S)
    members: dict[str, Any] = error.members
    assert (error.status, members["code"], members["nodes"]) == (504, "fleet-lags", ["edge-0"])
    assert "acknowledged by 1 of 2 Envoys" in error.detail


async def test_a_server_that_is_late_is_named(topology: Topology) -> None:
    error = await refused(waits(topology, fleet_at(published=6)), SOON_S)
    assert "this server has not published it: the database is slow" in error.detail
    topology.fleet_reports.note("b", FleetReport("b:1", 6, 6, 1, 1))
    error = await refused(waits(topology, server=None), SOON_S)
    assert error.status == 504
    assert "b:1 has last reported" in error.detail
