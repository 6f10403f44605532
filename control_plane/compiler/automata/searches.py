r"""One regex as a deterministic automaton that tells whether the regex occurs in a text.

A state is the set of instructions at which threads stand. Only three kinds count: `BYTE`; `MATCH`;
and a `LOOK` at what comes next (``$``, ``\b``), which is decided when that is known.

    ^/a(?:/|$)     states: LOOK ^ → BYTE / → BYTE a → {BYTE /, LOOK $} → MATCH

If the regex is not bound to the begin of the text, a new thread starts at each byte. Once the regex
has occurred, its threads are of no use: they end, and only new ones go on. So a regex that is bound
to the begin has no state left then, and a runner may stop.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from control_plane.compiler.automata.budget import Budget, TooComplex
from control_plane.compiler.automata.bytesets import ALL, WORD
from control_plane.compiler.automata.instructions import (
    Instructions,
    Kind,
    Look,
    instructions,
)
from control_plane.compiler.automata.minimal import minimal
from control_plane.compiler.regex_tree import regex_tree

MAX_SEARCH_STATES = 2000
"""Of one regex. The largest of GitLab's has 300."""
_BEGIN, _AFTER_WORD, _AFTER_OTHER = range(3)
"""What stands before a state's position."""
_WORD_NEXT, _OTHER_NEXT, _END_NEXT = range(3)


@dataclass(slots=True)
class Search:
    """An automaton; state 0 is its start. A byte without a way out ends it."""

    begins_anywhere: bool = False
    """Whether the regex may begin after the begin of the text."""
    rows: list[list[tuple[int, int]]] = field(default_factory=list)
    """For each state: sets of bytes, and the next state."""
    occurs: list[bool] = field(default_factory=list)
    """Whether the regex has occurred when this state is reached."""
    occurs_at_end: list[bool] = field(default_factory=list)
    """Whether the regex has occurred if the text ends in this state."""


def search(pattern: str, budget: Budget) -> Search:
    """Return the automaton of a regex.

    Raises:
        TooComplex: there is no tree, or a bound is exceeded.
    """
    tree = regex_tree(pattern)
    if tree is None:
        raise TooComplex
    return _minimised(_Builder(instructions(tree), budget).build())


@dataclass(slots=True)
class _Builder:
    program: Instructions
    budget: Budget
    states: dict[tuple[int, int], int] = field(default_factory=dict)
    """The number of each state: a set of instructions, and what stands before."""
    found: list[tuple[int, int]] = field(default_factory=list)
    result: Search = field(default_factory=Search)
    closures: dict[int, int] = field(default_factory=dict)
    match: int = 0
    looks: int = 0
    fresh: int = 0
    """The instructions of a thread that starts after the begin of the text."""

    def build(self) -> Search:
        for index, one in enumerate(self.program.code):
            self.match |= (one.kind is Kind.MATCH) << index
            self.looks |= (one.kind is Kind.LOOK) << index
        self.fresh = self._closure(self.program.start)
        self.result.begins_anywhere = bool(self.fresh)
        self._number(self._reach(self.program.start, at_begin=True), _BEGIN)
        for threads, before in self.found:
            row: dict[int, int] = {}
            if self.program.looks_at_words:
                self._step(row, threads, before, WORD, _WORD_NEXT)
                self._step(row, threads, before, ALL ^ WORD, _OTHER_NEXT)
            else:
                self._step(row, threads, before, ALL, _OTHER_NEXT)
            self.result.rows.append([(mask, target) for target, mask in row.items()])
            self.result.occurs.append(bool(threads & self.match))
            ended = self._resolved(threads, before, _END_NEXT)
            self.result.occurs_at_end.append(bool(ended & self.match))
        return self.result

    def _number(self, threads: int, before: int) -> int:
        key = (threads, before)
        if key not in self.states:
            if len(self.states) >= MAX_SEARCH_STATES:
                raise TooComplex
            self.states[key] = len(self.states)
            self.found.append(key)
        return self.states[key]

    def _step(self, row: dict[int, int], threads: int, before: int, among: int, after: int) -> None:
        """Add the ways out of a state on the bytes ``among``."""
        resolved = self._resolved(threads, before, after)
        next_before = _AFTER_WORD if after == _WORD_NEXT else _AFTER_OTHER
        targets: dict[int, int] = {}
        takers = _bits(resolved & ~self.looks & ~self.match)
        self.budget.take(len(takers) + 1)
        for index in takers:
            one = self.program.code[index]
            targets[one.argument] = targets.get(one.argument, 0) | self._closure(one.out)
        parts = [(among, self.fresh | resolved & ~threads & self.match)]
        for mask, target in targets.items():
            parts = [
                part
                for have, reached in parts
                for part in ((have & mask, reached | target), (have & ~mask, reached))
                if part[0]
            ]
        self.budget.take(len(parts))
        for mask, reached in parts:
            following = self.match | self.fresh if reached & self.match else reached
            if following:
                target = self._number(following, next_before)
                row[target] = row.get(target, 0) | mask

    def _resolved(self, threads: int, before: int, after: int) -> int:
        """Return the threads of a state once it is known what comes next."""
        done = 0
        left = threads & self.looks
        while left:
            lowest = left & -left
            done |= lowest
            one = self.program.code[lowest.bit_length() - 1]
            if _holds(one.argument, before, after):
                threads |= self._reach(one.out, at_begin=before == _BEGIN)
            left = threads & self.looks & ~done
        return threads

    def _closure(self, index: int) -> int:
        """Return what a thread reaches from an instruction after the begin of the text."""
        if index not in self.closures:
            self.closures[index] = self._reach(index, at_begin=False)
        return self.closures[index]

    def _reach(self, index: int, *, at_begin: bool) -> int:
        reached = 0
        seen: set[int] = set()
        left = [index]
        while left:
            index = left.pop()
            if index in seen:
                continue
            seen.add(index)
            one = self.program.code[index]
            if one.kind is Kind.ALT:
                left += one.other, one.out
            elif one.kind is Kind.TAG:
                left.append(one.out)
            elif one.kind is Kind.LOOK and one.argument == Look.BEGIN:
                if at_begin:
                    left.append(one.out)
            else:
                reached |= 1 << index
        self.budget.take(len(seen))
        return reached


def _holds(look: int, before: int, after: int) -> bool:
    if look == Look.END:
        return after == _END_NEXT
    boundary = (before == _AFTER_WORD) != (after == _WORD_NEXT)
    return boundary == (look == Look.WORD_BOUNDARY)


def _bits(mask: int) -> list[int]:
    bits = []
    while mask:
        lowest = mask & -mask
        bits.append(lowest.bit_length() - 1)
        mask ^= lowest
    return bits


def _minimised(whole: Search) -> Search:
    rows = [[(mask, target, None) for mask, target in row] for row in whole.rows]
    labels = list(zip(whole.occurs, whole.occurs_at_end, strict=True))
    number, chosen = minimal(rows, labels)
    result = Search(whole.begins_anywhere)
    for state in chosen:
        row: dict[int, int] = {}
        for mask, target in whole.rows[state]:
            row[number[target]] = row.get(number[target], 0) | mask
        result.rows.append([(mask, target) for target, mask in row.items()])
        result.occurs.append(whole.occurs[state])
        result.occurs_at_end.append(whole.occurs_at_end[state])
    return result
