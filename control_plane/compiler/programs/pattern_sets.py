"""The patterns that are looked for in one text: one set, so that the text is read once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from control_plane.compiler.automata import Budget, compile_set

OUTSIDE = "its regex is not one that an automaton reads exactly as RE2 does"
TOO_LARGE = "its regex needs too large an automaton"


@dataclass(frozen=True, slots=True)
class PatternSet:
    """Patterns with their numbers, and the automata that look for them."""

    code: bytes | None
    """None: there are no patterns."""
    numbers: Mapping[str, int]
    refused: Mapping[str, str]
    """By each pattern that is in no automaton, why."""


def pattern_set(patterns: Iterable[str], limit: int, budget: Budget) -> PatternSet:
    """Return the set of some patterns, of which at most ``limit`` are taken.

    Args:
        budget: The steps that all automata of the ruleset may take together. They are counted, so
            every control plane compiles the same program.
    """
    distinct = list(dict.fromkeys(patterns))
    taken, rest = distinct[:limit], distinct[limit:]
    refused = dict.fromkeys(rest, f"more than {limit} regexes look at the same text")
    whole = compile_set(taken, budget) if taken else None
    if taken and whole is None:
        outside = [pattern for pattern in taken if compile_set([pattern], budget) is None]
        refused |= dict.fromkeys(outside, OUTSIDE)
        taken = [pattern for pattern in taken if pattern not in refused]
        whole = compile_set(taken, budget) if taken else None
    if taken and whole is None:
        refused |= dict.fromkeys(taken, TOO_LARGE)
        taken = []
    numbers = {pattern: number for number, pattern in enumerate(taken)}
    return PatternSet(None if whole is None else whole.code, numbers, refused)
