"""A new base of an old one and its changes has what a reader of both has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from control_plane.owners.base import Base, base_frames
from control_plane.owners.compaction import latest, merged
from control_plane.owners.frames import LAST_OF_BASE, MAX_RECORDS, decode, pack_records
from tests.owners.tables import KEY_ID, TABLE, Reader, base, journal

small = st.dictionaries(st.integers(0, 8), st.integers(1, 3), max_size=8)
changes = st.lists(
    st.dictionaries(st.integers(0, 10), st.integers(0, 3), min_size=1, max_size=4), max_size=5
)


def table_of(one: Base) -> Reader:
    reader = Reader()
    reader.take_all([one.begin(), *one.frames])
    return reader


@given(small, changes, st.integers(1, 3))
def test_a_merged_base_has_what_its_parts_have(
    owners: dict[int, int], some: list[dict[int, int]], size: int
) -> None:
    items = list(owners.items())
    bodies = [pack_records(items[at : at + size]) for at in range(0, len(items), size)]
    old = Base(TABLE, KEY_ID, 1, len(items), list(base_frames(TABLE, 1, bodies)))
    one = journal(owners, 1)
    for revision, change in enumerate(some, 2):
        one.append(revision, change.items())
        one.seal()
    since = one.since_base()
    frames = list(merged(TABLE, one.revision, old.frames, latest(since)))
    new = Base(TABLE, KEY_ID, one.revision, 0, frames)
    expected = table_of(old)
    expected.take_all(since)
    assert table_of(new).owners == expected.owners
    assert table_of(new).revision == one.revision
    assert [bool(decode(data).flags & LAST_OF_BASE) for data in frames].count(True) == 1


def test_small_frames_are_joined_and_full_ones_stay() -> None:
    full = dict.fromkeys(range(2 * MAX_RECORDS), 4)
    frames = base(full, 1).frames
    for revision in range(2, 6):
        frames = list(merged(TABLE, revision, frames, {10**6 + revision: 7, 5: revision}))
    assert [decode(data).count for data in frames] == [MAX_RECORDS, MAX_RECORDS, 4]


def test_what_nobody_owns_any_more_is_gone() -> None:
    (only,) = merged(TABLE, 2, base({1: 1}, 1).frames, {1: 0, 2: 0})
    assert decode(only).count == 0
