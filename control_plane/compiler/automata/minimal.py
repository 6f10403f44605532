"""Finds the states of an automaton that nothing can tell apart.

States start in one block for each label. A block is split where its states lead to different
blocks. A state is looked at again only if one that it leads to has moved to another block, and the
largest part of a block never moves; so the work is n log n, as in Hopcroft's algorithm.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

Row = Sequence[tuple[int, int, Hashable]]
"""The ways out of a state: a set of bytes, the next state, and what happens on the way."""


def minimal(rows: Sequence[Row], labels: Sequence[Hashable]) -> tuple[list[int], list[int]]:
    """Number the states anew, so that those which nothing can tell apart have one number.

    Returns:
        The new number of each state, and for each new number one of its states. State 0 keeps its
        number.
    """
    block = _blocks(rows, labels)
    numbers: dict[int, int] = {}
    chosen: list[int] = []
    for state, one in enumerate(block):
        if one not in numbers:
            numbers[one] = len(numbers)
            chosen.append(state)
    return [numbers[one] for one in block], chosen


def _blocks(rows: Sequence[Row], labels: Sequence[Hashable]) -> list[int]:
    numbers: dict[Hashable, int] = {}
    block = [numbers.setdefault(label, len(numbers)) for label in labels]
    members: list[list[int]] = [[] for _ in numbers]
    for state, number in enumerate(block):
        members[number].append(state)
    before: list[set[int]] = [set() for _ in rows]
    for state, row in enumerate(rows):
        for _, target, _ in row:
            before[target].add(state)
    signatures: list[Hashable] = [None] * len(rows)
    dirty: set[int] = set(range(len(rows)))
    while dirty:
        for state in dirty:
            signatures[state] = _signature(rows[state], block)
        moved: list[int] = []
        for number in {block[state] for state in dirty}:
            for part in _smaller_parts(members, number, signatures):
                for state in part:
                    block[state] = len(members)
                members.append(part)
                moved += part
        dirty = {state for one in moved for state in before[one]}
    return block


def _signature(row: Row, block: Sequence[int]) -> Hashable:
    merged: dict[tuple[int, Hashable], int] = defaultdict(int)
    for mask, target, label in row:
        merged[block[target], label] |= mask
    return frozenset(merged.items())


def _smaller_parts(
    members: list[list[int]], number: int, signatures: Sequence[Hashable]
) -> list[list[int]]:
    """Leave the largest part in a block, and return the others."""
    if len(members[number]) == 1:
        return []
    parts: dict[Hashable, list[int]] = defaultdict(list)
    for state in members[number]:
        parts[signatures[state]].append(state)
    ordered = sorted(parts.values(), key=len)
    members[number] = ordered.pop()
    return ordered
