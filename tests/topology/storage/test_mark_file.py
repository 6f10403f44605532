"""The file of the highest ids is only ever raised, and says when it is malformed."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from control_plane.topology.storage.mark_file import HighestIds, MarkFile
from control_plane.topology.values.errors import Invalid


def test_without_a_file_no_id_was_given(tmp_path: Path) -> None:
    assert MarkFile(tmp_path / "none.json").read() == HighestIds(0, 0)


def test_each_id_is_raised_by_itself_and_never_lowered(tmp_path: Path) -> None:
    file = MarkFile(tmp_path / "sub" / "mark.json")
    file.raise_to(sequence=100)
    file.raise_to(cell=3)
    file.raise_to(sequence=50, cell=2)
    assert file.read() == HighestIds(100, 3)
    assert json.loads(file.path.read_text()) == {"mark": 100, "cell": 3}
    assert [one.name for one in file.path.parent.iterdir()] == ["mark.json"]


def test_a_file_from_before_cells_had_ids_is_read(tmp_path: Path) -> None:
    (tmp_path / "mark.json").write_text('{"mark": 7}')
    assert MarkFile(tmp_path / "mark.json").read() == HighestIds(7, 0)


@pytest.mark.parametrize(
    "text",
    ["", "7", "[]", "{}", '{"mark": "7"}', '{"mark": -1}', '{"mark": true}', '{"mark": 1.5}'],
)
def test_a_malformed_file_is_refused_and_left_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mark.json"
    path.write_text(text)
    for touch in (MarkFile(path).read, lambda: MarkFile(path).raise_to(cell=1)):
        with pytest.raises(Invalid, match="malformed"):
            touch()
    assert path.read_text() == text


def test_of_many_that_raise_at_once_the_highest_stays(tmp_path: Path) -> None:
    file = MarkFile(tmp_path / "mark.json")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: file.raise_to(sequence=number, cell=number), range(1, 41)))
    assert file.read() == HighestIds(40, 40)
