"""When a control plane's report is written, and that an absent database does not end it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.jobs import fleet_reports as module
from control_plane.jobs.fleet_reports import REFRESH_S, FleetReporter
from control_plane.topology import Topology
from control_plane.topology.cells.fleet_reports import FleetReport
from control_plane.topology.values.errors import Unavailable
from tests.support.conditions import until


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    made = Topology.open(f"sqlite:///{tmp_path}/d.db")
    yield made
    made.close()


async def test_a_report_is_written_when_it_changes_and_when_it_is_due(topology: Topology) -> None:
    notes: list[int] = []
    note = topology.fleet_reports.note

    def counted(server: str, report: FleetReport) -> None:
        notes.append(report.acked)
        note(server, report)

    topology.fleet_reports.note = counted  # type: ignore[method-assign]
    now, acked = 100.0, 1
    reporter = FleetReporter(topology, "a", lambda _: FleetReport("a", 9, acked, 1), lambda: now)
    await reporter.step()
    await reporter.step()
    assert notes == [1]
    acked = 2
    await reporter.step()
    assert notes == [1, 2]
    now += REFRESH_S
    await reporter.step()
    assert notes == [1, 2, 2]


async def test_it_goes_on_after_the_database_was_away_and_withdraws_at_its_end(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.001)
    note, failures = topology.fleet_reports.note, 3

    def fails_first(*given: Any) -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise Unavailable("away")
        note(*given)

    topology.fleet_reports.note = fails_first  # type: ignore[assignment,method-assign]
    reporter = FleetReporter(topology, "a", lambda _: FleetReport("a", 9, 9, 1))
    task = asyncio.create_task(reporter.run())

    async def reported() -> bool:
        return "a" in topology.fleet_reports.fresh()

    await until(reported)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert topology.fleet_reports.fresh() == {}
