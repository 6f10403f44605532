"""The table against a dictionary, with hashes that crowd into few buckets and while it grows."""

from __future__ import annotations

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from control_plane.edge_module.library import ASK_CELL, NOBODY, Table, load

SHORT = 1 << 48
crowded = st.builds(
    lambda upper, low: upper * (SHORT << 12) + low,
    st.integers(0, 3),  # of a small table, these are few neighbouring buckets
    st.integers(0, 120),
)
cell_ids = st.one_of(st.integers(1, 9), st.just(ASK_CELL), st.just(NOBODY))


class TableAndDictionary(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.table = Table(load())
        self.model: dict[int, int] = {}
        self.touched: set[int] = set()
        self.choose = random.Random(1)

    def _set(self, name: int, cell: int) -> None:
        assert self.table.set(name, cell)
        self.touched.add(name)
        if cell == NOBODY:
            self.model.pop(name, None)
        else:
            self.model[name] = cell

    @rule(name=crowded, cell=cell_ids)
    def change_one(self, name: int, cell: int) -> None:
        # The hash 0 has the fingerprint of the hash 1: the control plane would mark both.
        self._set(name or 2**47, cell)

    @rule(count=st.integers(1, 700), cell=st.integers(1, 70_000))
    def fill(self, count: int, cell: int) -> None:
        for _ in range(count):
            self._set(self.choose.getrandbits(64) | SHORT >> 1, cell)

    @rule(share=st.floats(0, 1))
    def take_away(self, share: float) -> None:
        for name in self.choose.sample(sorted(self.model), int(len(self.model) * share)):
            self._set(name, NOBODY)

    @invariant()
    def both_have_the_same_names(self) -> None:
        assert len(self.table) == len(self.model)

    def teardown(self) -> None:
        for name in self.touched:
            assert self.table.get(name) == self.model.get(name, NOBODY)
        assert self.table.get(self.choose.getrandbits(64)) == NOBODY
        self.table.close()


TestTableAndDictionary = TableAndDictionary.TestCase
TestTableAndDictionary.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


def test_a_table_that_was_made_too_small_grows_to_what_it_would_have_been_made() -> None:
    names = [random.Random(2).getrandbits(64)]
    choose = random.Random(3)
    names += [choose.getrandbits(64) for _ in range(60_000)]
    with Table(load()) as grown, Table(load(), len(names)) as made:
        for name in names:
            assert grown.set(name, 5)
            assert made.set(name, 5)
        assert {grown.get(name) for name in names} == {5} == {made.get(name) for name in names}
        assert grown.size_bytes < 2 * made.size_bytes


def test_names_that_come_and_go_take_no_more_memory() -> None:
    choose = random.Random(4)
    with Table(load(), 10_000) as table:
        size = table.size_bytes
        for _ in range(8):
            names = [choose.getrandbits(64) for _ in range(9_000)]
            assert all(table.set(name, 1) for name in names)
            assert all(table.set(name, NOBODY) for name in names)
        assert len(table) == 0
        assert table.size_bytes <= 2 * size


def spread(number: int) -> int:
    return number * 0x9E37_79B9_7F4A_7C15 % (1 << 64)


def test_more_cells_than_numbers_are_asked_for() -> None:
    with Table(load(), 70_000) as table:
        for cell in range(1, 65_101):
            assert table.set(spread(cell), cell)
        assert table.get(spread(65_000)) == 65_000
        assert table.get(spread(65_001)) == ASK_CELL
        assert table.set(spread(3), 7)
        assert table.get(spread(3)) == 7


def test_hashes_that_are_none_of_siphash_end_in_no_endless_growth() -> None:
    with Table(load()) as table:
        taken = [table.set(low, 1) for low in range(1, 1_200)]
        assert not all(taken)
        assert table.get(1) == 1
