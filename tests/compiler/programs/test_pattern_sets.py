"""The patterns of one text share automata; those that have none are told."""

from __future__ import annotations

from control_plane.compiler.automata import Budget
from control_plane.compiler.programs.pattern_sets import OUTSIDE, TOO_LARGE, pattern_set


def test_patterns_are_numbered_once_each() -> None:
    made = pattern_set(["^a", "b", "^a"], 9, Budget())
    assert (made.numbers, made.refused) == ({"^a": 0, "b": 1}, {})
    assert made.code is not None


def test_a_pattern_that_no_automaton_reads_leaves_the_others_alone() -> None:
    made = pattern_set(["^a", "[[:alpha:]]", "b"], 9, Budget())
    assert (made.numbers, made.refused) == ({"^a": 0, "b": 1}, {"[[:alpha:]]": OUTSIDE})


def test_patterns_beyond_the_limit_are_refused() -> None:
    made = pattern_set(["a", "b", "c"], 2, Budget())
    assert set(made.numbers) == {"a", "b"}
    assert "more than 2 regexes" in made.refused["c"]


def test_a_spent_budget_refuses_everything() -> None:
    made = pattern_set(["a", "b"], 2, Budget(0))
    assert (made.code, made.numbers) == (None, {})
    assert set(made.refused.values()) <= {OUTSIDE, TOO_LARGE}


def test_there_is_no_set_without_patterns() -> None:
    assert pattern_set([], 2, Budget()).code is None
