"""The cells that gRPC shows are those of the last commit, and each thread reads on its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import QueuePool, text

from control_plane.grpc_api.directory import LiveDirectories, cell_info, info_of_cell
from control_plane.grpc_api.generated.cell_info_pb2 import GetCellsResponse
from control_plane.topology import Topology
from control_plane.topology.values.cell import Cell, CellSpec, CellState, SequenceRange
from control_plane.topology.values.endpoint import Endpoint
from control_plane.topology.values.errors import TopologyError


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    opened = Topology.open(f"sqlite:///{tmp_path}/t.db")
    yield opened
    opened.close()


@pytest.fixture
def live(topology: Topology) -> Iterator[LiveDirectories]:
    directories = LiveDirectories(topology)
    yield directories
    directories.close()


def add(topology: Topology, number: int, state: CellState = CellState.ACTIVE) -> Cell:
    spec = CellSpec(
        f"cell-{number}",
        f"cell-{number}.example",
        (Endpoint("10.0.0.1", 1),),
        number,
        session_prefix=f"p{number}",
        sequence_ranges=(SequenceRange(number * 10, number * 10 + 9),),
        state=state,
    )
    return topology.cells.create(spec, actor="test").value


def test_cells_are_there_once_they_are_committed(topology: Topology, live: LiveDirectories) -> None:
    assert live.of_this_thread().current().first is None
    for number in (2, 1):
        add(topology, number)
    directory = live.of_this_thread().current()
    assert directory.first is directory.by_id[1]
    assert directory.by_prefix["p2"].id == 2
    assert live.of_this_thread().current() is directory, "nothing was committed since"


def test_retired_cells_are_shown_only_as_owners(topology: Topology, live: LiveDirectories) -> None:
    add(topology, 1)
    add(topology, 2, CellState.RETIRED)
    response = live.get_cells(GetCellsResponse())
    assert isinstance(response, GetCellsResponse)
    assert [cell.id for cell in response.cells] == [1]
    owner = info_of_cell(topology, 2)
    assert owner is not None
    assert owner.address == "cell-2.example"
    assert info_of_cell(topology, 3) is None


def test_an_older_client_reads_the_first_range(topology: Topology) -> None:
    info = cell_info(add(topology, 1))
    assert info.sequence_range == info.sequence_ranges[0]
    assert (info.sequence_range.minval, info.sequence_range.maxval) == (10, 19)


def test_each_thread_has_a_directory_of_its_own(live: LiveDirectories) -> None:
    others: list[object] = []
    thread = threading.Thread(target=lambda: others.append(live.of_this_thread()))
    thread.start()
    thread.join()
    assert live.of_this_thread() is live.of_this_thread()
    assert others != [live.of_this_thread()]


def test_a_directory_that_can_t_be_read_leaves_no_connection(
    topology: Topology, live: LiveDirectories
) -> None:
    pool = topology.engine.pool
    assert isinstance(pool, QueuePool)
    before = pool.checkedout()
    with topology.engine.begin() as connection:
        connection.execute(text("ALTER TABLE cells RENAME TO gone"))
    for _ in range(3):
        with pytest.raises(TopologyError):
            live.of_this_thread()
    assert pool.checkedout() == before
