"""What the edges of several control planes hold decides about cells, on both databases."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from control_plane.topology import Topology
from control_plane.topology.cells import edge_health
from control_plane.topology.storage import schema
from control_plane.topology.values.cell import CellState
from tests.topology.conftest import cell_spec


@pytest.fixture
def three(two: Topology) -> Topology:
    two.cells.create(cell_spec(3), actor="tester")
    return two


def up(topology: Topology) -> set[str]:
    return {cell.name for cell in topology.cells.all() if cell.healthy}


ALL = {"cell-1", "cell-2", "cell-3"}


@pytest.mark.parametrize(
    ("first", "second", "is_up"),
    [
        ((0, 1), (0, 0), False),
        ((1, 0), (0, 0), True),
        ((1, 1), (0, 0), True),
        ((0, 2), (1, 0), False),
        ((0, 2), (2, 0), True),
        ((1, 2), (0, 0), False),
        ((0, 0), (0, 0), True),
    ],
)
def test_a_cell_is_down_if_more_than_half_of_all_edges_cannot_reach_it(
    three: Topology, first: tuple[int, int], second: tuple[int, int], is_up: bool
) -> None:
    three.edge_health.note("a", {"cell-1": first, "cell-2": (1, 0)})
    three.edge_health.note("b", {"cell-1": second})
    assert three.cells.get("cell-1").healthy is is_up
    three.edge_health.note("a", {"cell-1": (9, 0)})
    assert up(three) == ALL


def test_two_control_planes_with_different_halves_never_contradict_each_other(
    three: Topology,
) -> None:
    halves = {
        "a": {"cell-1": (0, 3), "cell-2": (3, 0), "cell-3": (3, 0)},
        "b": {"cell-1": (2, 0), "cell-2": (0, 2)},
    }
    for replica, counts in halves.items():
        three.edge_health.note(replica, counts)
    revision = three.revision()

    def again(replica: str) -> None:
        for _ in range(20):
            assert not three.edge_health.note(replica, halves[replica]).changed

    threads = [threading.Thread(target=again, args=(replica,)) for replica in halves]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert up(three) == ALL - {"cell-1"}
    assert three.revision() == revision, "what does not change takes no revision"


def test_the_word_of_a_control_plane_that_is_gone_or_has_stopped_no_longer_counts(
    three: Topology,
) -> None:
    three.edge_health.note("gone", {"cell-1": (0, 3), "cell-2": (0, 1)})
    three.edge_health.note("here", {"cell-1": (1, 0), "cell-3": (1, 0)})
    assert up(three) == {"cell-3"}
    three.edge_health.withdraw("gone")
    assert three.edge_health.verdicts() == {"cell-1": True, "cell-3": True}
    assert three.edge_health.verdicts(edge_health.KEPT)["cell-2"] is False, "remembered for a while"
    three.edge_health.note("here", {"cell-1": (1, 0)})
    assert up(three) == {"cell-1", "cell-3"}, "of cell-2 nobody has a word: left to the probe"
    old = datetime.now(UTC) - edge_health.KEPT - timedelta(seconds=1)
    with three.engine.begin() as connection:
        table = schema.edge_health
        connection.execute(update(table).where(table.c.replica == "gone").values(at=old))
    three.edge_health.note("new", {})
    with three.engine.connect() as connection:
        assert {row.replica for row in connection.execute(schema.edge_health.select())} == {
            "here",
            "new",
        }


def test_edges_that_are_cut_off_take_no_cells_from_those_that_are_not(three: Topology) -> None:
    cut_off = {"cell-1": (0, 2), "cell-2": (0, 2), "cell-3": (0, 2)}
    three.edge_health.note("b", {"cell-1": (1, 0), "cell-2": (1, 0), "cell-3": (0, 1)})
    decided = three.edge_health.note("a", cut_off)
    assert decided.disbelieved == {"cell-1", "cell-2"}
    # Nobody can reach the third.
    assert up(three) == {"cell-1", "cell-2"}
    assert three.edge_health.probed({"cell-1": False}) == {}, "as they are: no probe's affair"
    three.edge_health.note("b", {})
    assert up(three) == set()
    # A cell that came back is not held back either by what is not believed.
    three.edge_health.note("a", {})
    three.edge_health.note("b", dict.fromkeys(ALL, (1, 0)))
    assert up(three) == ALL


def test_one_that_reports_among_many_that_do_not_takes_no_more_than_half(three: Topology) -> None:
    nothing = dict.fromkeys(ALL, (0, 1))
    assert three.edge_health.note("a", nothing, silent=5).disbelieved == ALL
    assert up(three) == ALL
    one = {"cell-1": (0, 1), "cell-2": (1, 0), "cell-3": (1, 0)}
    assert three.edge_health.note("a", one, silent=5).changed == {"cell-1": False}
    three.edge_health.note("a", nothing)
    assert up(three) == set()


@given(st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.integers(0, 3), st.integers(0, 3))))
def test_what_nobody_can_reach_is_down_and_what_all_can_reach_is_up(
    counts: dict[str, tuple[int, int]],
) -> None:
    verdicts = edge_health.judge(counts)
    assert verdicts.keys() == {name for name, pair in counts.items() if pair != (0, 0)}
    for name, verdict in verdicts.items():
        can, can_not = counts[name]
        if not can or not can_not:
            assert verdict is bool(can)
        assert verdict is None or verdict is (can >= can_not)
    taken = [name for name, verdict in verdicts.items() if verdict is False and counts[name][0]]
    assert len(taken) * 2 <= len(verdicts)


def test_a_probe_has_no_say_where_an_edge_has(three: Topology) -> None:
    three.edge_health.note("a", {"cell-1": (1, 0), "cell-2": (0, 1)})
    changed = three.edge_health.probed({"cell-1": False, "cell-2": True, "cell-3": False})
    assert changed == {"cell-3": False}
    assert up(three) == {"cell-1"}


def test_cells_that_serve_nothing_that_are_held_or_unknown_stay_as_they_are(
    three: Topology,
) -> None:
    three.cells.set_state("cell-3", CellState.DRAINED, actor="t", force=True, reason="test")
    counts = dict.fromkeys(("cell-1", "cell-2", "cell-3", "unknown", "' OR 1"), (0, 1))
    decided = three.edge_health.note("a", counts, on_hold={"cell-1"})
    assert decided.changed == {"cell-2": False}
    assert decided.put_off == {"cell-1"}
    assert up(three) == {"cell-1", "cell-3"}
    assert three.edge_health.note("a", counts).changed == {"cell-1": False}
    (change,) = three.changes.since(three.revision() - 1)
    assert (change.actor, change.kind, change.key) == ("edges", "cell", "cell-1")


def test_made_up_cells_have_no_weight(three: Topology) -> None:
    made_up = {f"made-up-{number}": (0, 1) for number in range(100)}
    counts = made_up | {"cell-1": (0, 2), "cell-2": (2, 0), "cell-3": (2, 0)}
    assert three.edge_health.note("a", counts, silent=1).changed == {"cell-1": False}
    assert three.edge_health.verdicts().keys() == ALL
