"""A drain's steps are made once, stop at a guard, and return by themselves."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from threading import Barrier, Thread
from typing import Any, get_args

import pytest
from sqlalchemy import update

from control_plane.topology import Topology
from control_plane.topology.cells.drains import DrainAction
from control_plane.topology.storage import schema
from control_plane.topology.values.cell import CellState
from control_plane.topology.values.drain import MAX_DRAIN_S, Drain, DrainSpec, DrainState
from control_plane.topology.values.errors import Invalid, NotFound, Refused, StaleVersion
from tests.topology.conftest import cell_spec

ME = "tester"
SPEC = DrainSpec("cell-1", 50, 20, 60, "disks", 3600)
LONG_AGO = timedelta(hours=2)


def start(topology: Topology, **more: Any) -> Drain:
    return topology.drains.start(replace(SPEC, **more), actor=ME).value


def pass_time(topology: Topology, *columns: str) -> None:
    """Make moments of all drains be two hours ago: tests don't wait."""
    table = schema.drains
    with topology.engine.begin() as connection:
        for row in connection.execute(table.select()).all():
            values = {name: getattr(row, name) - LONG_AGO for name in columns}
            connection.execute(update(table).where(table.c.id == row.id).values(**values))


def step(topology: Topology) -> list[Drain]:
    """Make the steps of now. SQLite's clock may be a millisecond behind that of a write."""
    pass_time(topology, "next_at")
    return list(topology.drains.advance())


def shares(topology: Topology) -> dict[str, int]:
    return {cell.name: cell.share for cell in topology.cells.all()}


def test_a_drain_goes_down_in_steps_and_returns_at_its_expiry(two: Topology) -> None:
    drain = start(two)
    assert (drain.state, drain.share, shares(two)["cell-1"]) == (DrainState.RUNNING, 100, 100)
    for share in (80, 60):
        assert [one.share for one in step(two)] == [share]
        assert shares(two) == {"cell-1": share, "cell-2": 100}
        assert two.drains.advance() == [], "the next step is not due"
    assert [one.state for one in step(two)] == [DrainState.HOLDING]
    assert shares(two)["cell-1"] == 50
    assert step(two) == []
    pass_time(two, "expires_at")
    assert [one.state for one in two.drains.advance()] == [DrainState.RETURNED]
    assert shares(two)["cell-1"] == 100
    assert not two.drains.get(drain.id).active
    kinds = [(one.kind, one.action) for one in two.changes.newest(actor="drains")[0]]
    assert kinds.count(("drain", "step")) == 3
    cell = two.changes.newest(kind="cell")[0][0]
    assert cell.after is not None
    assert cell.after["reason"] == f"drain {drain.id}: disks"


def test_a_share_is_no_change_of_answers(two: Topology) -> None:
    before = two.snapshot()
    start(two)
    step(two)
    after = two.snapshot()
    assert after.edge_revision > before.edge_revision
    assert after.answers_revision == before.answers_revision


def test_a_pause_keeps_the_share_and_an_abort_gives_it_back(two: Topology) -> None:
    drain = start(two)
    step(two)
    paused = two.drains.change(drain.id, "pause", actor=ME).value
    with pytest.raises(StaleVersion):
        two.drains.change(drain.id, "resume", actor=ME, expected_version=drain.version)
    assert (step(two), shares(two)["cell-1"]) == ([], 80)
    two.drains.change(drain.id, "resume", actor=ME, expected_version=paused.version)
    step(two)
    assert shares(two)["cell-1"] == 60
    with pytest.raises(Refused, match="not paused"):
        two.drains.change(drain.id, "resume", actor=ME)
    assert (
        two.drains.change(drain.id, "abort", actor=ME, dry_run=True).value.state
        is DrainState.ABORTED
    )
    two.drains.change(drain.id, "abort", actor=ME)
    assert shares(two)["cell-1"] == 100
    for action in get_args(DrainAction):
        with pytest.raises(Refused, match="it is aborted"):
            two.drains.change(drain.id, action, actor=ME)
        with pytest.raises(NotFound):
            two.drains.change("none", action, actor=ME)


@pytest.mark.parametrize(
    ("field", "more"),
    [
        ("target_share", {"target": 100}),
        ("target_share", {"target": -1}),
        ("step", {"step": 0}),
        ("interval_s", {"interval_s": 0}),
        ("reason", {"reason": " "}),
        ("expires_in_s", {"expires_in_s": MAX_DRAIN_S + 1}),
        ("expires_in_s", {"step": 1, "interval_s": 600}),
    ],
)
def test_a_malformed_drain_names_the_field(two: Topology, field: str, more: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        start(two, **more)
    assert [problem.field for problem in caught.value.problems] == [field]


def test_only_one_drain_of_a_cell_goes_on(two: Topology) -> None:
    first = start(two)
    with pytest.raises(Refused, match=first.id):
        start(two)
    two.drains.change(first.id, "abort", actor=ME)
    second = start(two)
    assert [one.id for one in two.drains.page(active=True)] == [second.id]
    assert {one.id for one in two.drains.page(cell="cell-1")} == {first.id, second.id}


def test_the_last_cell_and_the_least_capacity_stay(two: Topology) -> None:
    with pytest.raises(NotFound):
        start(two, cell="nowhere")
    two.cells.create(replace(cell_spec(3), weight=50), actor=ME)
    start(two, target=0)
    with pytest.raises(Refused, match=r"20\.0 % of the capacity would be left, and 50 %"):
        start(two, cell="cell-2", target=0)
    two.cells.set_health("cell-3", healthy=False, actor=ME)
    with pytest.raises(Refused, match="no other cell takes new traffic"):
        start(two, cell="cell-2", target=60)
    two.cells.set_state("cell-1", CellState.CORDONED, actor=ME)
    with pytest.raises(Refused, match="it is cordoned"):
        start(two, cell="cell-1")


def test_a_drain_pauses_by_itself_when_the_other_cells_fail(two: Topology) -> None:
    drain = start(two)
    step(two)
    two.cells.set_health("cell-2", healthy=False, actor=ME)
    paused = step(two)[0]
    assert (paused.id, paused.state, paused.share) == (drain.id, DrainState.PAUSED, 80)
    assert "no other cell takes new traffic" in paused.detail


def test_a_deleted_cells_drain_ends(two: Topology) -> None:
    drain = start(two)
    two.cells.set_state("cell-1", CellState.RETIRED, actor=ME, force=True, reason="test")
    two.cells.remove("cell-1", actor=ME)
    ended = two.drains.get(drain.id)
    assert (ended.state, ended.detail) == (DrainState.ENDED, "its cell was deleted")
    pass_time(two, "expires_at", "next_at")
    assert two.drains.advance() == []


def test_a_step_is_made_once_however_many_look(two: Topology, url: str) -> None:
    start(two)
    pass_time(two, "next_at")
    others = [Topology.open(url) for _ in range(3)]
    barrier = Barrier(len(others))

    def look(topology: Topology) -> None:
        barrier.wait()
        topology.drains.advance()

    threads = [Thread(target=look, args=(one,)) for one in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for other in others:
        other.close()
    assert shares(two)["cell-1"] == 80


def test_an_operators_change_of_a_cell_leaves_its_drain(two: Topology) -> None:
    start(two)
    step(two)
    two.cells.replace("cell-1", replace(cell_spec(1), weight=7), actor=ME)
    assert two.cells.get("cell-1").share == 80
