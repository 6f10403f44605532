"""What control planes report of their Envoys, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import update

from control_plane.topology import Topology
from control_plane.topology.cells.fleet_reports import FRESH, MAX_NAMED, MAX_WORDS, FleetReport
from control_plane.topology.storage import schema


def as_read(topology: Topology, server: str) -> FleetReport:
    report = topology.fleet_reports.fresh()[server]
    assert 0 <= report.age_s < FRESH.total_seconds()
    object.__setattr__(report, "age_s", 0.0)
    return report


def test_the_newest_report_of_each_control_plane_counts(two: Topology) -> None:
    revision = two.revision()
    first = FleetReport("a:18000", 7, 6, 3, 2, ("edge-3",), {"edge-3": "no such file"})
    second = FleetReport("b:18000", 6, 6, 0, unpublished=(7, "most cells are gone"))
    two.fleet_reports.note("a", first)
    two.fleet_reports.note("b", first)
    two.fleet_reports.note("b", second)
    assert (as_read(two, "a"), as_read(two, "b")) == (first, second)
    assert two.revision() == revision, "nobody else is woken"
    two.fleet_reports.withdraw("a")
    assert two.fleet_reports.fresh().keys() == {"b"}


def test_an_old_report_does_not_count_and_is_deleted_some_time(two: Topology) -> None:
    report = FleetReport("a:18000", 7, 7, 1, 1)
    two.fleet_reports.note("a", report)
    table = schema.fleet_reports
    with two.engine.begin() as connection:
        connection.execute(update(table).values(at=datetime(2020, 1, 1, tzinfo=UTC)))
    assert two.fleet_reports.fresh() == {}
    two.fleet_reports.note("b", report)
    with two.engine.begin() as connection:
        assert [row.server for row in connection.execute(table.select())] == ["b"]


def test_a_report_is_bounded(two: Topology) -> None:
    names = tuple(f"edge-{number}" for number in range(MAX_NAMED + 5))
    words = dict.fromkeys(names, "x" * (MAX_WORDS + 5))
    two.fleet_reports.note("a", FleetReport("a", 7, 0, 99, 0, names, words, (8, "y" * 9999)))
    report = as_read(two, "a")
    assert (len(report.lagging), len(report.refused)) == (MAX_NAMED, MAX_NAMED)
    assert max(map(len, report.refused.values())) == MAX_WORDS
    assert report.unpublished == (8, "y" * MAX_WORDS)
