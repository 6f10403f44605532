"""A regex as instructions of a machine with threads, as RE2 would compile it.

A thread stands at an instruction. `BYTE` takes a byte out of a set; `ALT` splits the thread, and
the first way is preferred; `TAG` stores the position; `LOOK` goes on at some positions only;
`MATCH` ends.

    ^a(?<k>[bc])*    1 LOOK ^   2 BYTE a   3 ALT 4 or 7
                     4 TAG 0   5 BYTE [bc]   6 TAG 1, then 3   7 MATCH

The order of the ways decides what is captured. It is RE2's, with one exception: where a part that
may be empty is repeated without bound, as in ``(?:a??)*``, a thread comes back to where it was
without taking a byte. What RE2 prefers then depends on how its program lies in memory. That is not
copied here; `Instructions.turns_on_the_spot` tells of it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from re import _constants as op
from typing import Any

from control_plane.compiler.automata.budget import TooComplex
from control_plane.compiler.automata.bytesets import (
    ALL,
    DIGITS,
    NEWLINE,
    SPACES,
    WORD,
    byterange,
    folded,
)
from control_plane.compiler.regex_tree import RegexTree

MAX_INSTRUCTIONS = 5000
"""Of one regex. The largest of GitLab's has fewer than 1,000."""


class Kind(enum.IntEnum):
    """What an instruction does."""

    BYTE = 0
    ALT = 1
    TAG = 2
    LOOK = 3
    MATCH = 4


class Look(enum.IntEnum):
    """Where a `Kind.LOOK` goes on."""

    BEGIN = 0
    END = 1
    WORD_BOUNDARY = 2
    NO_WORD_BOUNDARY = 3


@dataclass(slots=True)
class Instruction:
    """One step of a thread."""

    kind: Kind
    argument: int = 0
    """A set of bytes, a tag, or a `Look`."""
    out: int = 0
    other: int = 0
    """`Kind.ALT`: the way that is not preferred."""


@dataclass(slots=True)
class Instructions:
    """A compiled regex."""

    start: int
    code: list[Instruction]
    tags: int
    turns_on_the_spot: bool
    """Whether a part that may be empty is repeated without bound."""
    looks_at_words: bool
    """Whether there is a ``\\b`` or ``\\B``."""


def instructions(tree: RegexTree, groups: Sequence[str] = ()) -> Instructions:
    """Return the instructions of a regex.

    Group ``n`` of ``groups`` stores its begin as tag ``2n`` and its end as tag ``2n+1``.

    Raises:
        TooComplex: the regex has parts of an unknown kind, or it is too large.
        KeyError: there is no such group.
    """
    compiler = _Compiler({tree.groups[name]: 2 * index for index, name in enumerate(groups)})
    start = compiler.sequence(tree.nodes, compiler.add(Kind.MATCH), _Flags())
    looks = {one.argument for one in compiler.code if one.kind is Kind.LOOK}
    return Instructions(
        start,
        compiler.code,
        tags=2 * len(groups),
        turns_on_the_spot=compiler.turns_on_the_spot,
        looks_at_words=not looks.isdisjoint({Look.WORD_BOUNDARY, Look.NO_WORD_BOUNDARY}),
    )


@dataclass(frozen=True, slots=True)
class _Flags:
    fold: bool = False
    newlines: bool = False


_CATEGORIES = {
    op.CATEGORY_DIGIT: DIGITS,
    op.CATEGORY_NOT_DIGIT: ALL ^ DIGITS,
    op.CATEGORY_SPACE: SPACES,
    op.CATEGORY_NOT_SPACE: ALL ^ SPACES,
    op.CATEGORY_WORD: WORD,
    op.CATEGORY_NOT_WORD: ALL ^ WORD,
}
_LOOKS = {
    op.AT_BEGINNING: Look.BEGIN,
    op.AT_END: Look.END,
    op.AT_BOUNDARY: Look.WORD_BOUNDARY,
    op.AT_NON_BOUNDARY: Look.NO_WORD_BOUNDARY,
}
_REPEATS = {op.MAX_REPEAT, op.MIN_REPEAT}
_IGNORE_CASE, _DOT_ALL = 2, 16
"""`re.IGNORECASE` and `re.DOTALL`, as the tree has them."""


@dataclass(slots=True)
class _Compiler:
    """Writes instructions from the end of a regex to its begin, so that each knows what follows."""

    tags: Mapping[int, int]
    """The first tag of each group that is wanted."""
    code: list[Instruction] = field(default_factory=list)
    turns_on_the_spot: bool = False

    def add(self, kind: Kind, argument: int = 0, out: int = 0, other: int = 0) -> int:
        if len(self.code) >= MAX_INSTRUCTIONS:
            raise TooComplex
        self.code.append(Instruction(kind, argument, out, other))
        return len(self.code) - 1

    def sequence(self, nodes: Any, then: int, flags: _Flags) -> int:
        for node in reversed(list(nodes)):
            then = self._node(node, then, flags)
        return then

    def _node(self, node: Any, then: int, flags: _Flags) -> int:
        code, value = node
        if code is op.SUBPATTERN:
            return self._group(value, then, flags)
        if code is op.BRANCH:
            ways = [self.sequence(branch, then, flags) for branch in value[1]]
            start = ways.pop()
            while ways:
                start = self.add(Kind.ALT, 0, ways.pop(), start)
            return start
        if code in _REPEATS:
            return self._repeat(node, then, flags)
        if code is op.AT and value in _LOOKS:
            return self.add(Kind.LOOK, _LOOKS[value], then)
        return self.add(Kind.BYTE, _bytes_of(code, value, flags), then)

    def _group(self, value: Any, then: int, flags: _Flags) -> int:
        number, added, removed, nodes = value
        if removed or added & ~(_IGNORE_CASE | _DOT_ALL):
            raise TooComplex
        inner = _Flags(
            flags.fold or bool(added & _IGNORE_CASE), flags.newlines or bool(added & _DOT_ALL)
        )
        tag = self.tags.get(number)
        if tag is None:
            return self.sequence(nodes, then, inner)
        then = self.add(Kind.TAG, tag + 1, then)
        return self.add(Kind.TAG, tag, self.sequence(nodes, then, inner))

    def _repeat(self, node: Any, then: int, flags: _Flags) -> int:
        code, (least, most, body) = node
        greedy = code is op.MAX_REPEAT

        def once(out: int) -> int:
            return self.sequence(body, out, flags)

        if most is op.MAXREPEAT:
            self.turns_on_the_spot |= _may_be_empty(body)
            loop = self.add(Kind.ALT)
            again = once(loop)
            alt = self.code[loop]
            alt.out, alt.other = (again, then) if greedy else (then, again)
            start = again if least else loop
            copies = max(least - 1, 0)
        else:
            start = then
            for _ in range(most - least):
                way = once(start)
                ways = (way, then) if greedy else (then, way)
                start = self.add(Kind.ALT, 0, *ways)
            copies = least
        for _ in range(copies):
            start = once(start)
        return start


def _bytes_of(code: Any, value: Any, flags: _Flags) -> int:
    if code is op.ANY:
        return ALL if flags.newlines else ALL ^ NEWLINE
    if code is op.IN:
        negated = value[0][0] is op.NEGATE
        mask = 0
        for member in value[negated:]:
            mask |= _member(*member)
    elif code in {op.LITERAL, op.NOT_LITERAL}:
        negated = code is op.NOT_LITERAL
        mask = 1 << value
    else:
        raise TooComplex
    if flags.fold:
        mask = folded(mask)
    return ALL ^ mask if negated else mask


def _member(code: Any, value: Any) -> int:
    if code is op.LITERAL:
        return 1 << int(value)
    if code is op.RANGE:
        return byterange(*value)
    if code is op.CATEGORY and value in _CATEGORIES:
        return _CATEGORIES[value]
    raise TooComplex


def _may_be_empty(nodes: Any) -> bool:
    """Return whether these nodes may take no byte."""
    return all(_node_may_be_empty(*node) for node in nodes)


def _node_may_be_empty(code: Any, value: Any) -> bool:
    if code is op.AT:
        return True
    if code is op.SUBPATTERN:
        return _may_be_empty(value[-1])
    if code is op.BRANCH:
        return any(_may_be_empty(branch) for branch in value[1])
    if code in _REPEATS:
        return value[0] == 0 or _may_be_empty(value[2])
    return False
