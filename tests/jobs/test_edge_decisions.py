"""From the book to the database: when it is written, what is put off, and what does not end it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.edge_health.book import Book
from control_plane.edge_health.report import ClusterHealth, EdgeHealth
from control_plane.jobs import edge_decisions as module
from control_plane.jobs.cell_health import REPORTERS_RETURN_S, HealthMonitor
from control_plane.jobs.edge_decisions import GATHER_S, HOLD_S, REFRESH_S, EdgeDecisions
from control_plane.topology import Topology
from control_plane.topology.values.errors import DatabaseFailed, Unavailable
from tests.support.conditions import until
from tests.support.plane import add_cell

CAN, CANNOT = ClusterHealth(1, 0, 1), ClusterHealth(0, 0, 1)


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    made = Topology.open(f"sqlite:///{tmp_path}/d.db")
    for name in ("a", "b"):
        add_cell(made, name)
    yield made
    made.close()


class Fleet:
    """A book with nodes in it, decisions by it, and a clock that is set by hand."""

    def __init__(self, topology: Topology) -> None:
        self.now = 100.0
        self.topology = topology
        self.book = Book()
        self.connected = 0
        self.decisions = EdgeDecisions(
            topology, self.book, lambda: self.now, connected=lambda: self.connected
        )
        self._streams: dict[str, Any] = {}
        self.notes = 0
        note = topology.edge_health.note

        def counted(*given: Any, **more: Any) -> Any:
            self.notes += 1
            return note(*given, **more)

        topology.edge_health.note = counted  # type: ignore[method-assign]

    def say(self, node: str, **cells: ClusterHealth) -> None:
        if node not in self._streams:
            self._streams[node] = self.book.join("g", node, self.now)
        stream = self._streams[node]
        view = EdgeHealth(
            {f"cell:{name}": held for name, held in cells.items()} | {"other": CANNOT}
        )
        self.book.hear(stream, view, self.now)

    def end(self, node: str) -> None:
        self.book.leave(self._streams.pop(node), self.now)

    async def step(self, seconds: float = 0) -> set[str]:
        self.now += seconds
        await self.decisions.step()
        return {cell.name for cell in self.topology.cells.all() if cell.healthy}


async def test_a_fleet_that_comes_back_is_heard_out_first(topology: Topology) -> None:
    fleet = Fleet(topology)
    assert await fleet.step() == {"a", "b"}
    assert fleet.notes == 0, "without reporters nothing is written"
    fleet.say("n1", a=CANNOT, b=CAN)
    assert await fleet.step() == {"a", "b"}
    fleet.say("n2", a=CAN, b=CAN)
    fleet.say("n3", a=CAN, b=CAN)
    assert await fleet.step(GATHER_S) == {"a", "b"}
    fleet.say("n2", a=CANNOT, b=CAN)
    assert await fleet.step(0.2) == {"b"}


async def test_a_change_is_written_at_once_and_the_same_every_few_seconds(
    topology: Topology,
) -> None:
    fleet = Fleet(topology)
    fleet.say("n1", a=CAN)
    await fleet.step()
    await fleet.step(GATHER_S)
    assert fleet.notes == 1
    for _ in range(10):
        await fleet.step(REFRESH_S / 10 + 0.001)
    assert fleet.notes == 2
    fleet.say("n1", a=CANNOT)
    assert await fleet.step() == {"b"}
    assert fleet.notes == 3
    # A hand that sets it otherwise does not last.
    topology.cells.set_health("a", healthy=True, actor="hand")
    assert await fleet.step(REFRESH_S) == {"b"}


async def test_a_fleet_most_of_which_does_not_report_is_not_taken_all_of_its_cells(
    topology: Topology,
) -> None:
    fleet = Fleet(topology)
    fleet.connected = 3
    fleet.say("n1", a=CANNOT, b=CANNOT)
    await fleet.step()
    assert await fleet.step(GATHER_S) == {"a", "b"}
    fleet.connected = 1
    assert await fleet.step() == set()


async def test_a_cell_that_flaps_changes_only_so_often_and_then_as_it_is(
    topology: Topology,
) -> None:
    fleet = Fleet(topology)
    fleet.say("n1", a=CANNOT)
    await fleet.step()
    assert await fleet.step(GATHER_S) == {"b"}
    revision = topology.revision()
    for number in range(9):
        fleet.say("n1", a=(CANNOT, CAN)[number % 2 == 0])
        assert await fleet.step(HOLD_S / 10) == {"b"}
    assert topology.revision() == revision
    assert await fleet.step(HOLD_S / 10 + 0.001) == {"a", "b"}, "put off, not forgotten"


async def test_who_leaves_is_counted_for_a_while_and_then_nobody_decides(
    topology: Topology,
) -> None:
    fleet = Fleet(topology)
    fleet.say("n1", a=CANNOT)
    await fleet.step()
    await fleet.step(GATHER_S)
    fleet.end("n1")
    await fleet.step(9)
    assert topology.edge_health.verdicts() == {"a": False}
    await fleet.step(1)
    assert topology.edge_health.verdicts() == {}
    notes = fleet.notes
    await fleet.step(REFRESH_S)
    assert fleet.notes == notes, "nothing more is written"
    # The cell has no health check: our own monitor gives it back.
    monitor = HealthMonitor(topology, 1)
    await monitor.round()
    assert topology.cells.get("a").healthy is True


async def test_a_database_that_is_away_ends_nothing(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.001)
    book = Book()
    decisions = EdgeDecisions(topology, book, settle_s=0)
    note, failures = topology.edge_health.note, 0

    def failing(*given: Any, **more: Any) -> Any:
        nonlocal failures
        failures += 1
        if failures < 4:
            raise Unavailable("gone")
        return note(*given, **more)

    monkeypatch.setattr(topology.edge_health, "note", failing)
    task = asyncio.create_task(decisions.run())
    stream = book.join("g", "n", 0)
    book.hear(stream, EdgeHealth({"cell:a": CANNOT}), decisions._clock())
    await until(lambda: not topology.cells.get("a").healthy)
    assert (failures, task.done()) == (4, False)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert topology.edge_health.verdicts() == {}, "who stops takes its word back"


async def test_a_statement_that_the_database_refuses_is_left_to_the_supervisor(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.001)
    book = Book()
    decisions = EdgeDecisions(topology, book, settle_s=0)
    note = topology.edge_health.note
    task = asyncio.create_task(decisions.run())
    stream = book.join("g", "n", 0)
    book.hear(stream, EdgeHealth({"cell:a": CANNOT}), decisions._clock())
    await until(lambda: not topology.cells.get("a").healthy)

    def refused(*_: Any, **__: Any) -> Any:
        raise DatabaseFailed("the disk is full")

    monkeypatch.setattr(topology.edge_health, "note", refused)
    book.hear(stream, EdgeHealth({"cell:a": CAN}), decisions._clock())
    with pytest.raises(DatabaseFailed):
        await asyncio.wait_for(task, 10)
    assert topology.edge_health.verdicts() != {}, "its word counts until it is too old"
    monkeypatch.setattr(topology.edge_health, "note", note)
    again = asyncio.create_task(decisions.run())
    await until(lambda: topology.cells.get("a").healthy)
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)


async def test_after_a_start_the_edges_have_time_to_come_back_before_the_probe_decides(
    topology: Topology,
) -> None:
    topology.edge_health.note("before", {"a": (0, 1)})
    topology.edge_health.withdraw("before")
    now = 0.0
    monitor = HealthMonitor(topology, 1, lambda: now)
    await monitor.round()
    assert topology.cells.get("a").healthy is False
    now = REPORTERS_RETURN_S
    await monitor.round()
    assert topology.cells.get("a").healthy is True


async def test_nor_does_it_right_after_a_time_without_a_database(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    topology.edge_health.note("edges", {"a": (0, 1)})
    topology.edge_health.withdraw("edges")
    now = 0.0
    monitor = HealthMonitor(topology, 0.001, lambda: now)
    now = REPORTERS_RETURN_S
    read_cells, rounds = topology.cells.all, 0

    def failing() -> Any:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise Unavailable("gone")
        return read_cells()

    monkeypatch.setattr(topology.cells, "all", failing)
    # The first round fails before it could decide; in the ones after it the edges are waited for.
    task = asyncio.create_task(monitor.run())
    await until(lambda: rounds > 3)
    assert topology.edge_health.verdicts() == {}
    assert topology.cells.get("a").healthy is False
    now = 2 * REPORTERS_RETURN_S
    await until(lambda: topology.cells.get("a").healthy)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
