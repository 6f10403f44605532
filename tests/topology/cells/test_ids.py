"""An id that a cell ever had is never another cell's: deleted, restarted, restored or not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Thread

import pytest
from alembic import command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_plane.topology import Topology
from control_plane.topology.maintenance import backup
from control_plane.topology.maintenance.restore import restore
from control_plane.topology.storage.dialect import dialect_of
from control_plane.topology.storage.engines import _alembic
from control_plane.topology.storage.mark_file import HighestIds, MarkFile
from control_plane.topology.storage.store import Store
from control_plane.topology.values.cell import MAX_CELL_ID, CellState
from control_plane.topology.values.errors import AlreadyExists, Invalid, TopologyError
from tests.topology.conftest import cell_spec

ME = "operator"


def make(topology: Topology, number: int, cell_id: int | None = None) -> int:
    """A new cell's id."""
    spec = replace(cell_spec(number), id=cell_id)
    return topology.cells.create(spec, actor=ME).value.id


def delete(topology: Topology, number: int) -> None:
    topology.cells.set_state(
        f"cell-{number}", CellState.RETIRED, actor=ME, force=True, reason="test"
    )
    topology.cells.remove(f"cell-{number}", actor=ME)


def test_the_highest_id_is_not_given_again(two: Topology, url: str) -> None:
    delete(two, 2)
    assert make(two, 3) == 3
    delete(two, 3)
    delete(two, 1)
    again = Topology.open(url)
    assert make(again, 2) == 4, "also after a restart, with no cell left"
    again.close()


@pytest.mark.parametrize("number", [2, 3])
def test_a_deleted_cells_id_can_not_be_asked_for(two: Topology, number: int) -> None:
    delete(two, 2)
    with pytest.raises(AlreadyExists, match=r"cell id .* 2 \(owner: cell-2, deleted: its id is"):
        make(two, number, 2)
    assert make(two, number) == 3


def test_ids_may_be_chosen_in_any_order(topology: Topology) -> None:
    assert [make(topology, 1, 7), make(topology, 2, 3), make(topology, 3)] == [7, 3, 8]
    with pytest.raises(AlreadyExists, match="cell id"):
        make(topology, 4, 7)
    delete(topology, 1)
    assert make(topology, 4) == 9


def test_a_cell_that_was_not_made_took_no_id(two: Topology) -> None:
    two.cells.create(cell_spec(3), actor=ME, dry_run=True)
    with pytest.raises(AlreadyExists):
        two.cells.create(replace(cell_spec(3), address="cell-1.example.com"), actor=ME)
    assert make(two, 3) == 3


def test_above_the_highest_possible_id_one_must_be_chosen(two: Topology) -> None:
    make(two, 3, MAX_CELL_ID)
    with pytest.raises(Invalid, match="name an id that no cell ever had"):
        make(two, 4)
    assert make(two, 4, 3) == 3


def test_replicas_at_once_give_other_ids(two: Topology, url: str) -> None:
    other = Topology.open(url)
    start = Barrier(2)
    given: list[int] = []

    def several(topology: Topology, first: int) -> None:
        start.wait()
        for number in range(first, first + 15):
            given.append(make(topology, number))
            delete(topology, number)

    threads = [Thread(target=several, args=pair) for pair in ((two, 100), (other, 200))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert sorted(given) == list(range(3, 33))


@pytest.mark.parametrize("way", ["a copy", "restore"])
def test_a_restored_database_gives_no_id_that_was_given_since(tmp_path: Path, way: str) -> None:
    url, mark = f"sqlite:///{tmp_path}/t.db", tmp_path / "elsewhere" / "mark"
    topology = Topology.open(url, sequence_mark=mark)
    make(topology, 1)
    copy = tmp_path / "backup.db"
    backup.back_up(url, copy)
    assert [make(topology, 2), make(topology, 3)] == [2, 3]
    delete(topology, 3)
    topology.close()
    assert MarkFile(mark).read() == HighestIds(0, 3)
    if way == "restore":
        restore(url, copy)
    else:
        for leftover in tmp_path.glob("t.db*"):
            leftover.unlink()
        copy.rename(tmp_path / "t.db")
    topology = Topology.open(url, sequence_mark=mark)
    assert make(topology, 5) == 4
    # The cell that was lost goes on with its id; who had tokens of it keeps them.
    assert make(topology, 2, 2) == 2
    if way == "restore":
        with pytest.raises(AlreadyExists, match="cell-3, deleted"):
            make(topology, 3, 3)
    topology.close()


def test_a_lost_cells_id_is_no_other_cells(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/t.db"
    topology = Topology.open(url)
    make(topology, 1)
    backup.back_up(url, tmp_path / "backup.db")
    make(topology, 2)
    topology.close()
    restore(url, tmp_path / "backup.db")
    topology = Topology.open(url)
    with pytest.raises(AlreadyExists, match="cell-2, which a restore has lost"):
        make(topology, 3, 2)
    assert make(topology, 3) == 3, "without a mark file, too"
    assert make(topology, 2, 2) == 2
    topology.close()


def test_a_mark_file_of_an_earlier_version_is_raised(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    mark.write_text('{"mark": 7}\n')
    topology = Topology.open(f"sqlite:///{tmp_path}/t.db", sequence_mark=mark, anew=True)
    make(topology, 1)
    topology.close()
    assert json.loads(mark.read_text()) == {"mark": 7, "cell": 1}


def test_the_migration_knows_deleted_cells_by_the_feed(empty_url: str) -> None:
    store = Store(empty_url)
    dialect_of(store.engine).make()
    config = _alembic()
    config.attributes["engine"] = store.engine
    command.upgrade(config, "head")
    topology = Topology(store)
    for number in (1, 2, 3):
        make(topology, number)
    delete(topology, 3)
    command.downgrade(config, "0021")
    command.upgrade(config, "head")
    assert make(topology, 4) == 4
    with pytest.raises(AlreadyExists, match="cell-3, deleted"):
        make(topology, 3, 3)
    topology.close()


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.integers(1, 4), st.none() | st.integers(1, 6)), max_size=15))
def test_at_any_id_there_was_one_cell(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int | None]]
) -> None:
    """Cells that are made with and without an id of choice, and deleted when made again."""
    topology = Topology.open(f"sqlite:///{tmp_path_factory.mktemp('s')}/t.db")
    living: set[int] = set()
    given_ids: list[int] = []
    for number, wanted in steps:
        if number in living:
            delete(topology, number)
            living.discard(number)
        try:
            made = make(topology, number, wanted)
        except TopologyError:
            assert wanted in given_ids
            continue
        assert wanted in (None, made)
        assert made > max(given_ids, default=0) or wanted is not None
        living.add(number)
        given_ids.append(made)
    assert len(given_ids) == len(set(given_ids))
    topology.close()
