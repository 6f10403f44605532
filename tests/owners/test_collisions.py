"""Names that collide are asked about, whatever becomes of them; all others are answered."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.owners.collisions import ClaimedNames
from control_plane.owners.frames import ASK

HIGH = 1 << 48


class Base:
    """A base in a dictionary, by whole fingerprint."""

    def __init__(self, records: dict[int, int]) -> None:
        self.records = records

    def find(self, low: int) -> list[tuple[int, int]]:
        return [one for one in self.records.items() if one[0] % HIGH == low]


def test_both_names_of_a_collision_are_asked_about() -> None:
    names = ClaimedNames(Base({HIGH + 7: 1, HIGH + 8: 1}))
    assert set(names.records(2 * HIGH + 7, 2, is_new=True)) == {
        (HIGH + 7, ASK),
        (2 * HIGH + 7, ASK),
    }
    assert (names.collided, names.changed) == (2, 0)
    assert set(names.records(HIGH + 7, 0, is_new=False)) == {(HIGH + 7, ASK), (2 * HIGH + 7, ASK)}
    assert names.records(HIGH + 8, 0, is_new=False) == [(HIGH + 8, 0)]
    assert names.records(2 * HIGH + 8, 3, is_new=True) == [(2 * HIGH + 8, 3)]
    assert set(names.records(HIGH + 8, 1, is_new=True)) == {(HIGH + 8, ASK), (2 * HIGH + 8, ASK)}


def test_a_name_that_a_move_held_is_answered_again_when_it_is_let_go() -> None:
    names = ClaimedNames(Base({7: 1}))
    assert names.records(7, ASK, is_new=False) == [(7, ASK)]
    assert names.collided == 0
    assert names.records(7, 2, is_new=False) == [(7, 2)]
    assert names.records(7, ASK, is_new=False) == [(7, ASK)]
    assert set(names.records(HIGH + 7, 3, is_new=True)) == {(7, ASK), (HIGH + 7, ASK)}
    assert set(names.records(7, 2, is_new=False)) == {(7, ASK), (HIGH + 7, ASK)}


def test_two_names_of_one_fingerprint_are_asked_about() -> None:
    names = ClaimedNames(Base({7: 1}))
    assert names.records(7, 2, is_new=False) == [(7, 2)]
    assert names.records(7, 3, is_new=True) == [(7, ASK)]
    assert names.records(7, 0, is_new=False) == [(7, ASK)]


def test_what_a_base_asks_about_is_asked_about_after_it() -> None:
    names = ClaimedNames(Base({7: ASK, HIGH + 7: ASK}))
    assert set(names.records(7, 0, is_new=False)) == {(7, ASK), (HIGH + 7, ASK)}


def test_a_collision_after_a_base_was_read_outlives_it() -> None:
    """The base may have been read before the second name of the collision came."""
    names = ClaimedNames(Base({7: 1}))
    names.mark()
    names.records(7, 2, is_new=True)
    names.rebase(Base({7: 1}))
    assert names.records(7, 0, is_new=False) == [(7, ASK)]
    names.mark()
    names.rebase(Base({7: 2}))
    assert names.records(7, 0, is_new=False) == [(7, 0)]


step = st.tuples(st.integers(0, 11), st.integers(0, 3))


@settings(deadline=None)
@given(
    st.dictionaries(st.integers(0, 11), st.integers(1, 3)), st.lists(step, max_size=40), st.data()
)
def test_no_claimed_name_is_taken_for_another(
    first: dict[int, int], steps: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Twelve names with four fingerprints, of which two have the same lower bits."""
    prints = [(number % 4 // 2 + 1) * HIGH + (1 if number % 4 < 3 else 2) for number in range(12)]

    def base(claims: dict[int, int]) -> dict[int, int]:
        lows = [prints[name] % HIGH for name in claims]
        return {
            prints[name]: ASK if lows.count(prints[name] % HIGH) > 1 else cell
            for name, cell in claims.items()
        }

    claims = dict(first)
    table = base(claims)
    names = ClaimedNames(Base(dict(table)))
    reading: dict[int, int] | None = None
    for name, cell in steps:
        if reading is None and data.draw(st.booleans()):
            names.mark()
            reading = dict(claims)
        is_new = name not in claims
        if not cell and is_new:
            continue
        table |= names.records(prints[name], cell, is_new=is_new)
        claims[name] = cell
        if not cell:
            del claims[name]
        if reading is not None and data.draw(st.booleans()):
            names.rebase(Base(base(reading)))
            reading = None
        lows = [prints[one] % HIGH for one in claims]
        for one, owner in claims.items():
            whole = prints[one]
            alone = lows.count(whole % HIGH) == 1
            assert table[whole] == ASK or (alone and table[whole] == owner), (one, table)
