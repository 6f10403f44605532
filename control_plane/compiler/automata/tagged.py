r"""A regex as a deterministic automaton that knows where groups begin and end.

RE2's machine runs threads in the order of their preference, and each has its own captures. Here,
that order is the state: the instructions at which threads stand, best first. A thread's captures
are in the registers of its place in that order. So what happens on a byte is known beforehand:
which threads go on, which place each takes, and which registers are copied for it or get the
position.

    ^(?<k>[^/]+)(?:/|$)     state: one thread, which is after a byte of k
                            "a": the same thread goes on; nothing is copied
                            "/": the regex occurs; k ends at this position
                            end: the regex occurs; k ends at this position

A state's threads stand before the instructions that take no byte: these are followed when the next
byte is known, so ``$`` and ``\b`` are decided at once and a way that dies is never copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from control_plane.compiler.automata.budget import Budget, TooComplex
from control_plane.compiler.automata.bytesets import ALL, WORD
from control_plane.compiler.automata.instructions import (
    Instruction,
    Instructions,
    Kind,
    Look,
)

MAX_TAGGED_STATES = 2000
MAX_THREADS = 64
POSITION, NOTHING = -1, -2
"""What a move may read instead of a register."""


@dataclass(frozen=True, slots=True)
class Moves:
    """What happens on the way between two states; all at once."""

    occurs: bool = False
    """Whether the result's registers are written."""
    pairs: tuple[tuple[int, int], ...] = ()
    """A register that is written; a register that is read, `POSITION` or `NOTHING`."""


@dataclass(slots=True)
class Tagged:
    """An automaton with registers; state 0 has no threads. The result has the first registers."""

    start: int
    rows: list[list[tuple[int, int, Moves]]]
    """For each state: sets of bytes, the next state, and what happens."""
    ends: list[Moves]
    """For each state: what happens if the text ends there."""
    registers: int


@dataclass(frozen=True, slots=True)
class _State:
    threads: tuple[int, ...] = ()
    at_begin: bool = False
    after_word: bool = False


@dataclass(frozen=True, slots=True)
class _Way:
    """A thread that was followed to an instruction that takes a byte, or to the match."""

    instruction: Instruction
    origin: int
    tags: frozenset[int]


def tagged(program: Instructions, budget: Budget) -> Tagged:
    """Return the automaton of a regex.

    Raises:
        TooComplex: a bound is exceeded.
    """
    return _Builder(program, budget).build()


@dataclass(slots=True)
class _Builder:
    program: Instructions
    budget: Budget
    stored: list[frozenset[int]] = field(default_factory=list)
    """For each instruction: the tags that a thread may have stored when it comes there."""
    numbers: dict[_State, int] = field(default_factory=dict)
    found: list[_State] = field(default_factory=list)
    registers: int = 0

    def build(self) -> Tagged:
        first = _search_anywhere(self.program)
        self.stored = _stored_tags(self.program, first)
        self.registers = self.program.tags
        self._number(_State())
        start = self._number(_State((first,), at_begin=True))
        rows: list[list[tuple[int, int, Moves]]] = []
        ends: list[Moves] = []
        for state in self.found:  # It grows meanwhile.
            rows.append(self._row(state))
            _, match = self._followed(state, None)
            ends.append(self._moves(state, (), match))
        return Tagged(start, rows, ends, self.registers)

    def _number(self, state: _State) -> int:
        if state not in self.numbers:
            if len(self.numbers) >= MAX_TAGGED_STATES or len(state.threads) > MAX_THREADS:
                raise TooComplex
            self.registers = max(self.registers, self.program.tags * (len(state.threads) + 1))
            self.numbers[state] = len(self.found)
            self.found.append(state)
        return self.numbers[state]

    def _row(self, state: _State) -> list[tuple[int, int, Moves]]:
        row: dict[tuple[int, Moves], int] = {}
        words = self.program.looks_at_words
        for among, word in ((WORD, True), (ALL ^ WORD, False)) if words else ((ALL, False),):
            ways, match = self._followed(state, word)
            for mask, alive in _by_byte(ways, among):
                self.budget.take(len(alive) + 1)
                moves = self._moves(state, alive, match)
                threads = tuple(way.instruction.out for way in alive)
                target = self._number(_State(threads, after_word=word and bool(threads)))
                if target or moves.occurs:
                    row[target, moves] = row.get((target, moves), 0) | mask
        return [(mask, target, moves) for (target, moves), mask in row.items()]

    def _followed(self, state: _State, word_next: bool | None) -> tuple[list[_Way], _Way | None]:
        """Follow the threads to instructions that take a byte, best first; None: the text ends.

        No thread after one that matches counts.
        """
        ways: list[_Way] = []
        seen: set[int] = set()
        self.budget.take(len(state.threads) + 1)
        for origin, thread in enumerate(state.threads):
            left: list[tuple[int, frozenset[int]]] = [(thread, frozenset())]
            while left:
                index, tags = left.pop()
                if index in seen:
                    continue
                seen.add(index)
                self.budget.take(1)
                one = self.program.code[index]
                if one.kind is Kind.MATCH:
                    return ways, _Way(one, origin, tags)
                if one.kind is Kind.BYTE:
                    ways.append(_Way(one, origin, tags))
                elif one.kind is Kind.ALT:
                    left += (one.other, tags), (one.out, tags)
                elif one.kind is Kind.TAG:
                    left.append((one.out, tags | {one.argument}))
                elif _holds(one.argument, state, word_next):
                    left.append((one.out, tags))
        return ways, None

    def _moves(self, state: _State, alive: Sequence[_Way], match: _Way | None) -> Moves:
        tags = self.program.tags
        pairs: list[tuple[int, int]] = []
        for place, way in enumerate(alive):
            wanted = self.stored[way.instruction.out]
            pairs += self._sources(state, way, wanted, tags * (place + 1))
        if match is not None:
            pairs += self._sources(state, match, range(tags), 0)
        return Moves(match is not None, tuple(sorted(pairs)))

    def _sources(
        self, state: _State, way: _Way, wanted: Iterable[int], base: int
    ) -> list[tuple[int, int]]:
        """Return what the registers from ``base`` get, as far as they change."""
        have = self.stored[state.threads[way.origin]]
        pairs = []
        for tag in wanted:
            if tag in way.tags:
                pairs.append((base + tag, POSITION))
            elif tag not in have:
                pairs.append((base + tag, NOTHING))
            elif (source := self.program.tags * (way.origin + 1) + tag) != base + tag:
                pairs.append((base + tag, source))
        return pairs


def _by_byte(ways: Sequence[_Way], among: int) -> list[tuple[int, list[_Way]]]:
    """Return the threads that go on, for each set of bytes that makes a difference."""
    parts: list[tuple[int, list[_Way]]] = [(among, [])]
    for way in ways:
        mask = way.instruction.argument
        refined: list[tuple[int, list[_Way]]] = []
        for have, alive in parts:
            if have & mask:
                follows = any(one.instruction.out == way.instruction.out for one in alive)
                refined.append((have & mask, alive if follows else [*alive, way]))
            if have & ~mask:
                refined.append((have & ~mask, alive))
        parts = refined
    return parts


def _holds(look: int, state: _State, word_next: bool | None) -> bool:
    if look == Look.BEGIN:
        return state.at_begin
    if look == Look.END:
        return word_next is None
    return (state.after_word != bool(word_next)) == (look == Look.WORD_BOUNDARY)


def _search_anywhere(program: Instructions) -> int:
    """Return where to start, so that the regex may begin at each byte; earlier is better.

    Where it can only begin at the begin of the text, nothing is added.
    """
    left, seen = [program.start], set()
    while left:
        index = left.pop()
        if index in seen:
            continue
        seen.add(index)
        one = program.code[index]
        if one.kind is Kind.ALT:
            left += one.out, one.other
        elif one.kind is Kind.TAG or (one.kind is Kind.LOOK and one.argument != Look.BEGIN):
            left.append(one.out)
        elif one.kind is not Kind.LOOK:
            loop = len(program.code)
            program.code.append(Instruction(Kind.ALT, 0, program.start, loop + 1))
            program.code.append(Instruction(Kind.BYTE, ALL, loop))
            return loop
    return program.start


def _stored_tags(program: Instructions, first: int) -> list[frozenset[int]]:
    stored: list[frozenset[int] | None] = [None] * len(program.code)
    left: list[tuple[int, frozenset[int]]] = [(first, frozenset())]
    while left:
        index, tags = left.pop()
        have = stored[index]
        if have is not None and tags <= have:
            continue
        tags |= have or frozenset()
        stored[index] = tags
        one = program.code[index]
        if one.kind is Kind.TAG:
            left.append((one.out, tags | {one.argument}))
        elif one.kind is not Kind.MATCH:
            left.append((one.out, tags))
            if one.kind is Kind.ALT:
                left.append((one.other, tags))
    return [tags or frozenset() for tags in stored]
