"""A base is a file of frames in the order of what edges keep, and can be searched."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.owners.fingerprints import fingerprint, key_id, low_bits
from control_plane.owners.frames import ASK, MAX_RECORDS
from control_plane.owners.sorted_base import BaseSorter, SortedFrames, read_base
from tests.owners.tables import Reader
from tests.owners.weak import check_table, weaken

KEY = bytes(range(16))


def file_of(rows: list[tuple[str, str, int]]) -> bytes:
    sorter = BaseSorter(KEY)
    for start in range(0, len(rows), 1000):
        sorter.add(rows[start : start + 1000])
    return b"".join(sorter.file(77, 12))


def table_of(data: bytes) -> dict[int, int]:
    base, _ = read_base(data)
    reader = Reader(base.key_id)
    reader.take_all([base.begin(), *base.frames])
    return reader.owners


@pytest.mark.parametrize("count", [0, 1, MAX_RECORDS - 1, MAX_RECORDS, MAX_RECORDS + 1, 12_345])
def test_every_name_is_in_the_frames_and_is_found(count: int) -> None:
    rows = [("route", f"g{n}", 1 + n % 7) for n in range(count)]
    data = file_of(rows)
    base, frames = read_base(data)
    assert (base.table, base.revision, base.names) == (77, 12, count)
    assert base.key_id == key_id(KEY)
    assert len(frames) == max(1, -(-count // MAX_RECORDS))
    assert table_of(data) == {fingerprint(KEY, b, v): cell for b, v, cell in rows}
    for bucket, value, cell in rows[:: max(1, count // 200)]:
        whole = fingerprint(KEY, bucket, value)
        assert frames.find(low_bits(whole)) == [(whole, cell)]
        assert frames.find(low_bits(whole) ^ 1) == []
    assert list(frames[:2]) == list(frames)[:2]
    with pytest.raises(IndexError):
        frames[len(frames)]


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.integers(0, 60).map(lambda n: ("route", f"n{n}")), st.integers(1, 9)))
def test_names_that_collide_are_asked_about(claims: dict[tuple[str, str], int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        weaken(patch)
        data = file_of([(*key, cell) for key, cell in claims.items()])
        table = table_of(data)
        check_table(table, claims)
        _, frames = read_base(data)
        for whole, cell in table.items():
            assert (whole, cell) in frames.find(low_bits(whole))
        assert frames.names == len(table)
        assert len(claims) < 17 or ASK in table.values()


@pytest.mark.parametrize("cut", [1, 40, 44, 60_020])
def test_a_file_that_is_not_whole_is_refused(cut: int) -> None:
    data = file_of([("route", f"g{n}", 1) for n in range(5001)])
    with pytest.raises(ValueError):
        read_base(data[:-cut])


def test_a_file_that_begins_otherwise_is_refused() -> None:
    base, _ = read_base(file_of([("route", "a", 1)]))
    with pytest.raises(ValueError):
        read_base(b"".join(base.frames) * 2)
    with pytest.raises(ValueError, match="not whole"):
        SortedFrames(b"", 0)
