"""Which of many regexes occur in a text: automata as bytes for `envoy/module/automaton.c`.

`automaton.h` documents the layout. One automaton for all regexes is best, because a text is then read
once. Regexes that each may begin anywhere can multiply their states; then they are split in halves.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from control_plane.compiler.automata.bytesets import class_table
from control_plane.compiler.automata.instructions import TooComplex
from control_plane.compiler.automata.product import DEAD, Budget, Product, product
from control_plane.compiler.automata.searches import Search, search

MAX_PATTERNS = 1024
MAX_STATES = 8000
"""Of one automaton, before it is minimised."""
MAX_STATES_BUILT = 40_000
"""Of all attempts together: about three seconds."""
MAX_BYTES = 1 << 20

_HEADER = struct.Struct("<4sIHHHH")
_PART = struct.Struct("<IHHHHHH")


@dataclass(frozen=True, slots=True)
class MatchSet:
    """Automata that tell which of several regexes occur in a text."""

    code: bytes
    """What `cw_set_run` runs. Bit ``n`` of its result is the regex ``n``."""
    states: tuple[int, ...]
    """How many states each automaton has."""


def compile_set(patterns: Sequence[str]) -> MatchSet | None:
    """Return automata that tell which of these regexes occur in a text, as RE2 in Latin-1 mode does.

    RE2 must accept each of them. None if one is outside of the subset, or a bound is exceeded.
    """
    if len(patterns) > MAX_PATTERNS:
        return None
    searches: list[tuple[int, Search]] = []
    for number, pattern in enumerate(patterns):
        one = search(pattern)
        if one is None:
            return None
        searches.append((number, one))
    try:
        parts = _split(searches, Budget(MAX_STATES_BUILT)) if searches else []
    except TooComplex:
        return None
    words = (len(patterns) + 63) // 64
    body = b"".join(_part(part, words) for part in parts)
    header = _HEADER.pack(b"CWS1", _HEADER.size + len(body), len(patterns), words, len(parts), 0)
    if len(header) + len(body) > MAX_BYTES:
        return None
    return MatchSet(header + body, tuple(len(part.rows) for part in parts))


def _split(searches: Sequence[tuple[int, Search]], budget: Budget) -> list[Product]:
    try:
        return [product(searches, budget, MAX_STATES)]
    except TooComplex:
        if len(searches) == 1 or budget.states <= 0:
            raise
    half = len(searches) // 2
    return _split(searches[:half], budget) + _split(searches[half:], budget)


def _part(whole: Product, words: int) -> bytes:
    """Return an automaton as bytes; the states that tell something come last."""
    order = sorted(range(len(whole.rows)), key=lambda state: (bool(whole.occurs[state]), state))
    order.remove(DEAD)
    order.insert(0, DEAD)
    place = {state: at for at, state in enumerate(order)}
    sets: dict[frozenset[int], int] = {frozenset(): 0}
    ends = [sets.setdefault(whole.occurs_at_end[state], len(sets)) for state in order]
    quiet = sum(not told for told in whole.occurs)
    emits = [sets.setdefault(whole.occurs[state], len(sets)) for state in order[quiet:]]
    table = [place[target] for state in order for target in whole.rows[state]]
    columns = len(whole.classes)
    body = b"".join(
        (
            class_table(whole.classes),
            struct.pack(f"<{len(ends)}H", *ends),
            struct.pack(f"<{len(emits)}H", *emits),
            b"".join(_bits(one, words) for one in sets),
            struct.pack(f"<{len(table)}H", *table),
        )
    )
    start = place[whole.start]
    size = _PART.size + len(body)
    return _PART.pack(size, len(order), columns, start, quiet, len(sets), 0) + body


def _bits(numbers: frozenset[int], words: int) -> bytes:
    return sum(1 << number for number in numbers).to_bytes(8 * words, "little")
