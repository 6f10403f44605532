"""States that nothing can tell apart become one."""

from __future__ import annotations

import random
from collections.abc import Sequence

from control_plane.compiler.automata.minimal import Row, minimal

BYTES = 3


def automaton(choose: random.Random) -> tuple[list[Row], list[int]]:
    size = choose.randrange(1, 12)
    rows: list[Row] = []
    for _ in range(size):
        ways = [(1 << byte, choose.randrange(size), choose.choice("xy")) for byte in range(BYTES)]
        rows.append(choose.sample(ways, choose.randrange(BYTES + 1)))
    return rows, [choose.randrange(2) for _ in range(size)]


def distinct(rows: Sequence[Row], labels: Sequence[int]) -> set[tuple[int, int]]:
    """Return the pairs of states that a text tells apart, found by going back from the labels."""

    def way(state: int, byte: int) -> tuple[int, object] | None:
        return next(((to, label) for mask, to, label in rows[state] if mask >> byte & 1), None)

    size = range(len(rows))
    found = {(a, b) for a in size for b in size if labels[a] != labels[b]}
    grown = True
    while grown:
        grown = False
        for pair in [(a, b) for a in size for b in size if (a, b) not in found]:
            for byte in range(BYTES):
                one, other = way(pair[0], byte), way(pair[1], byte)
                if one is None or other is None:
                    differ = one is not other
                else:
                    differ = one[1] != other[1] or (one[0], other[0]) in found
                if differ:
                    found.add(pair)
                    grown = True
                    break
    return found


def test_states_are_told_apart_as_by_the_plain_algorithm() -> None:
    choose = random.Random(4)
    merged = 0
    for _ in range(400):
        rows, labels = automaton(choose)
        number, chosen = minimal(rows, labels)
        apart = distinct(rows, labels)
        pairs = {(a, b) for a in range(len(rows)) for b in range(len(rows))}
        assert {pair for pair in pairs if number[pair[0]] != number[pair[1]]} == apart
        assert [number[state] for state in chosen] == list(range(len(chosen)))
        assert number[0] == 0
        merged += len(chosen) < len(rows)
    assert merged > 100
