"""What a regex captures: a tagged automaton as bytes for `envoy/module/automaton.c`.

`automaton.h` documents the layout.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

from control_plane.compiler.automata.budget import Budget, TooComplex
from control_plane.compiler.automata.bytesets import class_table, partition
from control_plane.compiler.automata.comb import MAX_PLACES, NOBODY, comb, numbers
from control_plane.compiler.automata.instructions import instructions
from control_plane.compiler.automata.minimal import minimal
from control_plane.compiler.automata.tagged import NOTHING, POSITION, Moves, Tagged, tagged
from control_plane.compiler.regex_tree import regex_tree

MAX_CAPTURED = 32
MAX_REGISTERS = 250
MAX_CAPTURES_BYTES = 1 << 18
_MAX_LISTS = 65_535
_MAX_MOVES = 255

_HEADER = struct.Struct("<4sIIIHHHHBBH")
_READS = {NOTHING: 254, POSITION: 255}


@dataclass(frozen=True, slots=True)
class Captures:
    """An automaton that tells where groups of a regex begin and end."""

    code: bytes
    """What `cw_captures_run` runs."""
    groups: tuple[str, ...]
    """The groups in the order of its result."""
    states: int


def compile_captures(
    pattern: str, groups: Sequence[str], budget: Budget | None = None
) -> Captures | None:
    """Return an automaton that captures these groups of a regex as RE2's leftmost match does.

    RE2 must accept the regex. None if it is outside of the subset, if it repeats a part that may be
    empty without bound, or if a limit is exceeded.

    Raises:
        KeyError: the regex has no such group.
    """
    tree = regex_tree(pattern)
    if tree is None or len(groups) > MAX_CAPTURED:
        return None
    try:
        program = instructions(tree, groups)
        if program.turns_on_the_spot:
            return None
        whole = _minimised(tagged(program, budget or Budget()))
        code = _encoded(whole, len(groups))
    except TooComplex:
        return None
    return Captures(code, tuple(groups), len(whole.rows))


def _minimised(whole: Tagged) -> Tagged:
    number, chosen = minimal(whole.rows, whole.ends)
    rows: list[list[tuple[int, int, Moves]]] = []
    for state in chosen:
        row: dict[tuple[int, Moves], int] = {}
        for mask, target, moves in whole.rows[state]:
            way = (number[target], moves)
            row[way] = row.get(way, 0) | mask
        rows.append([(mask, target, moves) for (target, moves), mask in row.items()])
    ends = [whole.ends[state] for state in chosen]
    return Tagged(number[whole.start], rows, ends, whole.registers)


def _encoded(whole: Tagged, groups: int) -> bytes:
    scratch = whole.registers
    if scratch >= MAX_REGISTERS:
        raise TooComplex
    lists: dict[Moves, int] = {Moves(): 0}
    classes = partition(mask for row in whole.rows for mask, _, _ in row)
    ends = [lists.setdefault(moves, len(lists)) for moves in whole.ends]
    rows = [_ways(row, classes, lists) for row in whole.rows]
    packed = comb(rows, len(classes), len(rows))
    place = packed.places
    if len(lists) > _MAX_LISTS or max(place) >= MAX_PLACES:
        raise TooComplex
    moves = [_list(one, scratch) for one in lists]
    offsets = list(accumulate(map(len, moves), initial=0))
    fallbacks = [(place[target], listed) for target, listed in packed.fallbacks]
    cells = [
        (place[cell[0]], place[cell[1][0]], cell[1][1]) if cell else (NOBODY, 0, 0)
        for cell in packed.cells
    ]
    body = b"".join(
        (
            class_table(classes),
            numbers(chain.from_iterable(packed.at_places(fallbacks, (0, 0)))),
            numbers(packed.at_places(ends, 0)),
            numbers(chain.from_iterable(cells)),
            struct.pack(f"<{len(moves)}I", *offsets[:-1]),
            *moves,
        )
    )
    size = _HEADER.size + len(body)
    if size > MAX_CAPTURES_BYTES:
        raise TooComplex
    sizes = (size, len(cells), offsets[-1])
    counts = (max(place) + 1, len(classes), place[whole.start], len(moves), groups, scratch + 1)
    return _HEADER.pack(b"CWC1", *sizes, *counts, 0) + body


def _ways(
    row: list[tuple[int, int, Moves]], classes: Sequence[int], lists: dict[Moves, int]
) -> list[tuple[int, int]]:
    """Return for each class the next state and the number of the list of moves."""
    ways = [(0, 0)] * len(classes)
    for mask, target, moves in row:
        way = (target, lists.setdefault(moves, len(lists)))
        for column, members in enumerate(classes):
            if mask & members:
                ways[column] = way
    return ways


def _list(moves: Moves, scratch: int) -> bytes:
    ordered = in_order(moves.pairs, scratch)
    if len(ordered) > _MAX_MOVES:
        raise TooComplex
    flat = [value for to, source in ordered for value in (to, _READS.get(source, source))]
    return bytes((moves.occurs, len(ordered), *flat))


def in_order(pairs: Sequence[tuple[int, int]], scratch: int) -> list[tuple[int, int]]:
    """Return moves that happen at once as moves one after another.

    A register is written when no other move has yet to read it. Where registers wait for each other
    in a circle, one of them is put aside into ``scratch``.
    """
    left = {to: source for to, source in pairs if source >= 0}
    constant = [pair for pair in pairs if pair[1] < 0]
    ordered: list[tuple[int, int]] = []
    while left:
        read = set(left.values())
        free = [to for to in left if to not in read]
        if not free:
            aside = next(iter(left))
            ordered.append((scratch, aside))
            left = {to: scratch if source == aside else source for to, source in left.items()}
        ordered += [(to, left.pop(to)) for to in free]
    return ordered + constant
