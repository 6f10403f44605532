"""Shares of free traffic come out as they are set, whatever the weights are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.routing.model import Weighted
from control_plane.routing.outcomes import weighted_outcome
from control_plane.routing.shares import Taker, shared_out
from tests.support.cells import FakeCell, cells

TAKERS = st.lists(
    st.builds(Taker, st.uuids().map(str), st.integers(1, 1000), st.integers(0, 100)),
    min_size=2,
    max_size=20,
)


@given(TAKERS)
def test_each_drained_cell_gets_its_share_of_its_usual_part(takers: list[Taker]) -> None:
    takers[0] = takers[0]._replace(share=100)
    weights = dict(shared_out(takers))
    total, usual = sum(weights.values()), sum(one.weight for one in takers)
    assert total < 2**32
    for one in takers:
        part, before = weights.get(one.name, 0) / total, one.weight / usual
        if one.share < 100:
            assert part == pytest.approx(before * one.share / 100, abs=0.0001)
        else:
            assert part >= before - 0.0001
    assert all(weights.values())


def test_without_a_drain_the_weights_stay_as_they_are() -> None:
    takers = [Taker("a", 3, 100), Taker("b", 0, 100), Taker("c", 7, 100)]
    assert shared_out(takers) == (("a", 3), ("c", 7))


def test_where_all_are_drained_their_shares_are_compared() -> None:
    assert shared_out([Taker("a", 10, 20), Taker("b", 10, 0)]) == (("a", 200),)


def test_a_cell_drained_to_nothing_still_counts_in_the_usual_parts() -> None:
    some = cells(FakeCell(1, share=0, accepts_new=False), FakeCell(2, share=50), FakeCell(3))
    weights = dict(some.weighted)
    assert weights["cell-2"] / sum(weights.values()) == pytest.approx(1 / 6, abs=0.0001)


def test_a_rules_own_weights_keep_to_drains_and_states() -> None:
    some = cells(FakeCell(1, takes_new=False), FakeCell(2), FakeCell(3, share=0))
    listed = (("cell-1", 5), ("cell-2", 5), ("cell-3", 5))
    assert weighted_outcome(listed, some) == Weighted((("cell-2", 1_000_000),))
    assert weighted_outcome((("cell-1", 5),), some) == Weighted((("cell-1", 5),))
