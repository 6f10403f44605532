"""Automata say what RE2 says, for random regexes and texts."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.compiler.automata import Captures, compile_captures
from tests.compiler.automata import differential
from tests.compiler.automata.differential import TEXTS, Differential

PAIRS = 20_000


def test_twenty_thousand_random_pairs_agree() -> None:
    done = Differential()
    done.compare_for(random.Random(1511), pairs=PAIRS)
    assert done.set_pairs > PAIRS / 2
    assert PAIRS / 5 < done.occurred < done.capture_pairs
    assert done.refused < PAIRS / TEXTS


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False))
def test_regexes_that_shrink_agree(choose: random.Random) -> None:
    Differential().compare(choose)


def test_a_wrong_automaton_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(pattern: str, groups: Sequence[str]) -> Captures | None:
        return compile_captures(pattern.replace("*?", "*"), groups)

    monkeypatch.setattr(differential, "compile_captures", greedy)
    choose = random.Random(7)
    with pytest.raises(AssertionError, match=r"Regex.*\*\?"):
        Differential().compare_for(choose, pairs=PAIRS)
