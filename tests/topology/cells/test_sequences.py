"""Ranges of ids: they never overlap, whatever is deleted, restored or tried at once."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_plane.topology import Topology
from control_plane.topology.storage import mark_file
from control_plane.topology.storage.mark_file import MarkFile
from control_plane.topology.values.cell import CellState, SequenceRange
from control_plane.topology.values.errors import (
    AlreadyExists,
    DatabaseFull,
    Invalid,
    NotFound,
    Refused,
)
from tests.topology.conftest import cell_spec

ME = "operator"


def ranges(topology: Topology, cell: str) -> list[tuple[int, int]]:
    return [(span.minval, span.maxval) for span in topology.cells.get(cell).sequence_ranges]


def delete(topology: Topology, cell: str) -> None:
    topology.cells.set_state(cell, CellState.RETIRED, actor=ME, force=True, reason="test")
    topology.cells.remove(cell, actor=ME)


def test_ranges_follow_each_other(two: Topology) -> None:
    assert two.sequences.allot("cell-1", 100, actor=ME).value == SequenceRange(1, 100)
    told = two.sequences.allot("cell-2", 50, actor=ME, dry_run=True)
    assert (told.value, ranges(two, "cell-2")) == (SequenceRange(101, 150), [])
    assert two.sequences.allot("cell-2", 50, actor=ME).value == SequenceRange(101, 150)
    two.sequences.allot("cell-1", 10, actor=ME)
    assert ranges(two, "cell-1") == [(1, 100), (151, 160)]
    with pytest.raises(NotFound):
        two.sequences.allot("nowhere", actor=ME)
    for size in (0, -1, 2**63):
        with pytest.raises(Invalid):
            two.sequences.allot("cell-1", size, actor=ME)


def test_exhaustion_is_seen_coming(two: Topology) -> None:
    for cell in ("cell-1", "cell-2", "cell-1"):
        two.sequences.allot(cell, 100, actor=ME)
    assert two.sequences.report("cell-1", 40, actor="cell-1").share == pytest.approx(0.2)
    revision = two.revision()
    assert two.sequences.report("cell-1", 30, actor="cell-1").used == 40, "it never goes back"
    assert two.revision() == revision
    use = two.sequences.report("cell-1", 280, actor="cell-1")
    assert (use.used, use.allotted, use.alarming) == (180, 200, True)
    assert [(one.cell, one.used) for one in two.sequences.uses()] == [
        ("cell-1", 180),
        ("cell-2", 0),
    ]
    with pytest.raises(Invalid):
        two.sequences.report("cell-1", 150, actor="cell-1")
    delete(two, "cell-2")
    with pytest.raises(NotFound):
        two.sequences.report("cell-2", 150, actor="cell-2")


def test_a_restored_database_allots_nothing_until_confirmed(tmp_path: Path) -> None:
    database, mark = tmp_path / "t.db", tmp_path / "elsewhere" / "mark"
    topology = Topology.open(f"sqlite:///{database}", sequence_mark=mark)
    for number in (1, 2):
        topology.cells.create(cell_spec(number), actor=ME)
    topology.sequences.allot("cell-1", 100, actor=ME)
    topology.close()
    shutil.copy(database, tmp_path / "backup.db")

    topology = Topology.open(f"sqlite:///{database}", sequence_mark=mark)
    topology.sequences.allot("cell-2", 100, actor=ME)
    with pytest.raises(Refused):
        topology.sequences.confirm(actor=ME)
    topology.close()
    assert MarkFile(mark).read().sequence == 200
    for leftover in tmp_path.glob("t.db*"):
        leftover.unlink()
    shutil.copy(tmp_path / "backup.db", database)

    topology = Topology.open(f"sqlite:///{database}", sequence_mark=mark)
    assert topology.sequences.high_water_mark().restored
    with pytest.raises(Refused, match="restored from a backup"):
        topology.sequences.allot("cell-2", 100, actor=ME)
    with pytest.raises(Refused):
        topology.cells.create(
            replace(cell_spec(3), sequence_ranges=(SequenceRange(101, 200),)), actor=ME
        )
    assert topology.sequences.confirm(actor=ME).mark == 200
    with pytest.raises(Refused, match="may be in use"):
        topology.cells.replace(
            "cell-2", replace(cell_spec(2), sequence_ranges=(SequenceRange(150, 160),)), actor=ME
        )
    assert topology.sequences.allot("cell-2", 100, actor=ME).value == SequenceRange(201, 300)
    assert [change.action for change in topology.changes.since(0) if change.kind == "sequence"] == [
        "confirm"
    ]
    topology.close()


def test_the_mark_is_on_disk_before_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "mark"
    topology = Topology.open(f"sqlite:///{tmp_path}/t.db", sequence_mark=mark)
    topology.cells.create(cell_spec(1), actor=ME)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mark_file.os, "fsync", full)
    with pytest.raises(DatabaseFull, match="No space"):
        topology.sequences.allot("cell-1", 100, actor=ME)
    monkeypatch.undo()
    assert ranges(topology, "cell-1") == []
    assert MarkFile(mark).read().sequence == 0
    topology.sequences.allot("cell-1", 100, actor=ME, dry_run=True)
    assert MarkFile(mark).read().sequence == 0
    topology.close()


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"mark": -1}', '{"mark": "7"}', '{"mark": true}']
)
def test_a_malformed_mark_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "mark").write_text(text)
    with pytest.raises(Invalid, match="mark"):
        Topology.open(f"sqlite:///{tmp_path}/t.db", sequence_mark=tmp_path / "mark")


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(st.sampled_from((1, 2, 3)), st.integers(1, 60), st.integers(0, 20)), max_size=12
    )
)
def test_no_two_cells_ever_share_an_id(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, int]]
) -> None:
    """Cells that are made with ranges of their own, given more, and deleted; at any id one owner."""
    topology = Topology.open(f"sqlite:///{tmp_path_factory.mktemp('s')}/t.db")
    owner: dict[int, int] = {}
    living: dict[int, int] = {}
    born = 0
    for number, low, size in steps:
        name = f"cell-{number}"
        if number in living and size == 0:
            delete(topology, name)
            del living[number]
            continue
        born += number not in living
        token = living.setdefault(number, born)
        span = SequenceRange(low, low + size)
        try:
            if any(cell.name == name for cell in topology.cells.all()):
                topology.sequences.allot(name, size, actor=ME)
            else:
                topology.cells.create(replace(cell_spec(number), sequence_ranges=(span,)), actor=ME)
        except AlreadyExists:
            del living[number]
            continue
        for a, b in ranges(topology, name):
            for one in range(a, b + 1):
                assert owner.setdefault(one, token) == token
    topology.close()
