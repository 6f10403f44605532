"""Circles and ways."""

from __future__ import annotations

import random
from itertools import pairwise

from tests.house.graph import circles, way


def arrows(text: str) -> list[tuple[str, str]]:
    """Arrows written as ``ab bc``."""
    return [(pair[0], pair[1]) for pair in text.split()]


def test_a_tree_has_no_circle() -> None:
    assert circles(arrows("ab ac bd cd")) == []


def test_a_name_that_points_to_itself_is_no_circle() -> None:
    assert circles(arrows("aa")) == []


def test_each_tangle_shows_its_shortest_circle() -> None:
    assert circles(arrows("ab bc cd da bd xy yx ax")) == [list("abda"), list("xyx")]


def test_a_circle_is_found_wherever_it_hides() -> None:
    chance = random.Random(7)
    names = [chr(ord("a") + number) for number in range(20)]
    for _ in range(200):
        pairs = [(a, b) for a in names for b in names if a < b and chance.random() < 0.2]
        assert circles(pairs) == []
        low, high = sorted(chance.sample(names, 2))
        expected = way(pairs, low, [high])
        closed = circles([*pairs, (high, low)])
        assert bool(closed) == (expected is not None)
        for circle in closed:
            assert (high, low) in pairwise(circle)
            assert len(circle) == len(expected or ()) + 1


def test_the_shortest_way_is_shown() -> None:
    assert way(arrows("ab bc cd ae ed"), "a", ["d"]) == ["a", "e", "d"]
    assert way(arrows("ab"), "b", ["a"]) is None
