"""The patterns that are looked for in one text: one set, so that the text is read once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from control_plane.compiler.automata import compile_set

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


def pattern_set(patterns: Iterable[str], limit: int) -> PatternSet:
    """Return the set of some patterns, of which at most ``limit`` are taken."""
    refused: dict[str, str] = {}
    taken: list[str] = []
    for pattern in dict.fromkeys(patterns):
        if len(taken) == limit:
            refused[pattern] = f"more than {limit} regexes look at the same text"
        elif compile_set([pattern]) is None:
            refused[pattern] = OUTSIDE
        else:
            taken.append(pattern)
    whole = compile_set(taken) if taken else None
    if taken and whole is None:
        refused |= dict.fromkeys(taken, TOO_LARGE)
        taken = []
    numbers = {pattern: number for number, pattern in enumerate(taken)}
    return PatternSet(None if whole is None else whole.code, numbers, refused)
