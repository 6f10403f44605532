"""Which of many regexes occur in a text: automata as bytes for `envoy/module/automaton.c`.

`automaton.h` documents the layout. One automaton for all regexes is best, because a text is then
read once. Regexes that each may begin anywhere multiply their states; they are split in halves.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from control_plane.compiler.automata.budget import Budget, TooComplex
from control_plane.compiler.automata.bytesets import class_table
from control_plane.compiler.automata.comb import MAX_PLACES, NOBODY, comb, numbers
from control_plane.compiler.automata.product import DEAD, Product, product
from control_plane.compiler.automata.searches import Search, search

MAX_PATTERNS = 1024
MAX_STATES = 4000
"""Of one automaton, before it is minimised."""
MAX_GROWTH = 4
"""How many times the states of its regexes an automaton may have; what multiplies more is split.

GitLab's regexes for headers take two passes then, and a tenth of the space.
"""
MAX_BYTES = 1 << 20

_HEADER = struct.Struct("<4sIHHHH")
_PART = struct.Struct("<IIHHHHHH")


@dataclass(frozen=True, slots=True)
class MatchSet:
    """Automata that tell which of several regexes occur in a text."""

    code: bytes
    """What `cw_set_run` runs. Bit ``n`` of its result is the regex ``n``."""
    states: tuple[int, ...]
    """How many states each automaton has."""


def compile_set(patterns: Sequence[str], budget: Budget | None = None) -> MatchSet | None:
    """Return automata that tell which regexes occur in a text, as RE2 does in Latin-1 mode.

    RE2 must accept each of them. None if one is outside of the subset, or a bound is exceeded.
    """
    if len(patterns) > MAX_PATTERNS:
        return None
    budget = budget or Budget()
    words = (len(patterns) + 63) // 64
    try:
        searches = [(number, search(one, budget)) for number, one in enumerate(patterns)]
        # Those that may begin anywhere multiply their states: halves part them from the others.
        searches.sort(key=lambda numbered: numbered[1].begins_anywhere)
        parts = _parts(searches, words, budget) if searches else []
    except TooComplex:
        return None
    body = b"".join(part for part, _ in parts)
    size = _HEADER.size + len(body)
    if size > MAX_BYTES:
        return None
    header = _HEADER.pack(b"CWS1", size, len(patterns), words, len(parts), 0)
    return MatchSet(header + body, tuple(states for _, states in parts))


def _parts(
    searches: Sequence[tuple[int, Search]], words: int, budget: Budget
) -> list[tuple[bytes, int]]:
    """Return one automaton, or several if it would be too large: their bytes and sizes."""
    most = MAX_STATES
    if len(searches) > 1:
        most = min(most, MAX_GROWTH * sum(len(one.rows) for _, one in searches))
    try:
        whole = product(searches, budget, most)
        return [(_part(whole, words), len(whole.rows))]
    except TooComplex:
        if len(searches) == 1 or budget.steps <= 0:
            raise
    half = len(searches) // 2
    return [
        part for some in (searches[:half], searches[half:]) for part in _parts(some, words, budget)
    ]


def _part(whole: Product, words: int) -> bytes:
    """Return an automaton as bytes. The states that tell something come last.

    Raises:
        TooComplex: its cells are too many.
    """
    order = _as_they_lead_on(whole)
    order.sort(key=lambda state: bool(whole.occurs[state]))
    quiet = sum(not whole.occurs[state] for state in order)
    index = {state: at for at, state in enumerate(order)}
    rows = [[index[target] for target in whole.rows[state]] for state in order]
    packed = comb(rows, len(whole.classes), quiet)
    place = packed.places
    if max(place) >= MAX_PLACES:
        raise TooComplex
    sets: dict[frozenset[int], int] = {frozenset(): 0}
    ends = [sets.setdefault(whole.occurs_at_end[state], len(sets)) for state in order]
    tells = [sets.setdefault(whole.occurs[state], len(sets)) for state in order]
    first_telling = min(place[quiet:], default=max(place) + 1)
    cells = [(place[cell[0]], place[cell[1]]) if cell else (NOBODY, 0) for cell in packed.cells]
    body = b"".join(
        (
            class_table(whole.classes),
            numbers(packed.at_places([place[way] for way in packed.fallbacks], 0)),
            numbers(packed.at_places(ends, 0)),
            numbers(packed.at_places(tells, 0)[first_telling:]),
            numbers(chain.from_iterable(cells)),
            *(_bits(one, words) for one in sets),
        )
    )
    size = _PART.size + len(body)
    start = place[index[whole.start]]
    counts = (len(cells), max(place) + 1, len(whole.classes), start, first_telling, len(sets))
    return _PART.pack(size, *counts, 0) + body


def _as_they_lead_on(whole: Product) -> list[int]:
    """Return the states, `DEAD` first, each followed by one that it leads to where possible.

    So most steps of a run look at memory beside that of the step before.
    """
    order = {DEAD: None}
    left = [whole.start]
    while left:
        state = left.pop()
        if state not in order:
            order[state] = None
            left += sorted(set(whole.rows[state]) - order.keys())
    return list(order)


def _bits(numbers: frozenset[int], words: int) -> bytes:
    return sum(1 << number for number in numbers).to_bytes(8 * words, "little")
