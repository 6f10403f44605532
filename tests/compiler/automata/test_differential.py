"""Automata say what RE2 says, for random regexes and texts."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.compiler.automata import compile_captures
from tests.compiler.automata.differential import Differential

PAIRS = 20_000


def test_twenty_thousand_random_pairs_agree() -> None:
    done = Differential()
    choose = random.Random(1511)
    while done.capture_pairs < PAIRS:
        done.compare(choose)
    assert done.set_pairs > PAIRS / 2
    assert PAIRS / 5 < done.occurred < done.capture_pairs
    assert done.refused < done.capture_pairs / 100


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False))
def test_regexes_that_shrink_agree(choose: random.Random) -> None:
    Differential().compare(choose)


def test_a_wrong_automaton_is_noticed() -> None:
    done = Differential()
    choose = random.Random(7)
    right = compile_captures("^a", [])
    assert right is not None
    while not done.capture_pairs:
        done.compare(choose)
