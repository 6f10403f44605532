"""Runs the automata of several regexes as one.

A state of the product holds the states of those automata that have not ended. Which regexes have
occurred is told state by state, and a runner adds it up. So the product need not remember it, and
it has hardly more states than its parts together:

    ^/a/x  ^/a/y  ^/b     after "/a/": the first two; after "/b": none is left, and the last occurs
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from control_plane.compiler.automata.budget import Budget, TooComplex
from control_plane.compiler.automata.bytesets import partition
from control_plane.compiler.automata.minimal import minimal
from control_plane.compiler.automata.searches import Search

DEAD = 0
"""The state that no byte leads out of."""


@dataclass(slots=True)
class Product:
    """A minimal automaton for several regexes. Rows lead from classes of bytes to states."""

    classes: list[int]
    """Sets of bytes that the automaton can't tell apart."""
    start: int
    rows: list[list[int]]
    """For each state, the next one by class."""
    occurs: list[frozenset[int]]
    """The regexes that have occurred when this state is reached."""
    occurs_at_end: list[frozenset[int]]
    """The regexes that have occurred if the text ends in this state."""


_State = tuple[tuple[int, int], ...]
"""Pairs of a regex and a state of its automaton."""


def product(searches: Sequence[tuple[int, Search]], budget: Budget, most: int) -> Product:
    """Return one automaton for some regexes, each given with its number.

    Raises:
        TooComplex: it has more than ``most`` states, or the budget is spent.
    """
    masks = {mask for _, one in searches for row in one.rows for mask, _ in row}
    classes = partition(masks)
    index = {part: 1 << at for at, part in enumerate(classes)}
    of_mask = {mask: sum(bit for part, bit in index.items() if part & mask) for mask in masks}
    return _minimised(_Builder(dict(searches), of_mask, budget, most, classes).build())


@dataclass(slots=True)
class _Builder:
    searches: dict[int, Search]
    of_mask: dict[int, int]
    """Sets of bytes as sets of classes."""
    budget: Budget
    most: int
    classes: list[int]
    numbers: dict[_State, int] = field(default_factory=dict)
    found: list[_State] = field(default_factory=list)

    def build(self) -> _Sparse:
        self._number(())
        start = self._number(tuple((number, 0) for number in self.searches))
        rows = [self._row(state) for state in self.found]  # `found` grows meanwhile.
        emits = [
            frozenset(number for number, at in state if self.searches[number].occurs[at])
            for state in self.found
        ]
        ends = [
            frozenset(number for number, at in state if self.searches[number].occurs_at_end[at])
            for state in self.found
        ]
        return _Sparse(self.classes, start, rows, emits, ends)

    def _number(self, state: _State) -> int:
        number = self.numbers.get(state)
        if number is None:
            number = self.numbers[state] = len(self.found)
            if number >= self.most:
                raise TooComplex
            self.found.append(state)
        return number

    def _row(self, state: _State) -> list[tuple[int, int, None]]:
        parts: list[tuple[int, _State]] = [((1 << len(self.classes)) - 1, ())]
        for number, at in state:
            ways = [
                (self.of_mask[mask], (number, target))
                for mask, target in self.searches[number].rows[at]
            ]
            parts = _refined(parts, ways)
            self.budget.take(len(parts))
        row: dict[_State, int] = {}
        for mask, target in parts:
            row[target] = row.get(target, 0) | mask
        return [(mask, self._number(target), None) for target, mask in row.items()]


def _refined(
    parts: list[tuple[int, _State]], ways: list[tuple[int, tuple[int, int]]]
) -> list[tuple[int, _State]]:
    """Return the parts of the alphabet, with where one more automaton goes."""
    refined: list[tuple[int, _State]] = []
    for left, target in parts:
        rest = left
        for mask, step in ways:
            both = rest & mask
            if both:
                refined.append((both, (*target, step)))
                rest ^= both
                if not rest:
                    break
        if rest:
            refined.append((rest, target))
    return refined


@dataclass(slots=True)
class _Sparse:
    """An automaton whose rows hold sets of classes; state 0 is `DEAD`."""

    classes: list[int]
    start: int
    rows: list[list[tuple[int, int, None]]]
    occurs: list[frozenset[int]]
    occurs_at_end: list[frozenset[int]]


def _minimised(whole: _Sparse) -> Product:
    labels = list(zip(whole.occurs, whole.occurs_at_end, strict=True))
    number, chosen = minimal(whole.rows, labels)
    rows: list[list[int]] = []
    for state in chosen:
        row = [DEAD] * len(whole.classes)
        for mask, target, _ in whole.rows[state]:
            for column in range(len(row)):
                if mask >> column & 1:
                    row[column] = number[target]
        rows.append(row)
    return Product(
        whole.classes,
        number[whole.start],
        rows,
        [whole.occurs[state] for state in chosen],
        [whole.occurs_at_end[state] for state in chosen],
    )
