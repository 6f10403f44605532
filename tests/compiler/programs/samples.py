"""Random texts in which a regex occurs, made from its tree."""

from __future__ import annotations

import random
from collections.abc import Mapping
from re import _constants as op
from typing import Any

from control_plane.compiler.regex_tree import regex_tree

_ANY = [chr(code) for code in range(0x21, 0x7F)]
_LIKELY = list("abcdefgxyzABZ0129-_.")
_CATEGORIES = {
    op.CATEGORY_DIGIT: "0123456789",
    op.CATEGORY_WORD: "abcxyzABC_019",
    op.CATEGORY_SPACE: " \t",
}
_MOST = 6
"""Repetitions beyond the least that a regex wants."""


class Sampler:
    """Makes samples; the same generator of numbers gives the same ones."""

    def __init__(self, choose: random.Random) -> None:
        self._choose = choose
        self._groups: Mapping[str, str] = {}
        self._names: dict[int, str] = {}

    def sample(self, pattern: str, groups: Mapping[str, str]) -> str:
        """Return a text in which the regex occurs, if its groups can be these texts."""
        tree = regex_tree(pattern)
        if tree is None:
            # Whoever wants this regex to occur must be lucky.
            return "".join(self._choose.choices(["/", "foo", "x", "1", "a"], k=3))
        self._groups = groups
        self._names = {number: name for name, number in tree.groups.items()}
        return self._text(tree.nodes)

    def _text(self, nodes: Any) -> str:
        return "".join(self._node(code, value) for code, value in nodes)

    def _node(self, code: Any, value: Any) -> str:
        if code is op.LITERAL:
            return chr(value)
        if code is op.NOT_LITERAL:
            return self._other(lambda char: ord(char) != value)
        if code is op.ANY:
            return self._other(lambda _: True)
        if code is op.IN:
            return self._member(value)
        if code is op.BRANCH:
            return self._text(self._choose.choice(value[1]))
        if code is op.SUBPATTERN:
            group = self._groups.get(self._names.get(value[0] or 0, ""))
            return self._text(value[-1]) if group is None else group
        if code in {op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT}:
            least, most, inner = value
            count = self._choose.randint(least, min(int(most), least + _MOST))
            return "".join(self._text(inner) for _ in range(count))
        return ""

    def _other(self, fits: Any) -> str:
        pool = _LIKELY if self._choose.random() < 0.9 else _ANY
        return self._choose.choice([char for char in pool if fits(char)] or _ANY)

    def _member(self, members: Any) -> str:
        negated = members[0][0] is op.NEGATE
        chars = [char for code, value in members[negated:] for char in _members(code, value)]
        if negated:
            excluded = set(chars)
            return self._other(lambda char: char not in excluded)
        return self._choose.choice(chars)


def _members(code: Any, value: Any) -> list[str]:
    if code is op.LITERAL:
        return [chr(value)]
    if code is op.RANGE:
        return [chr(one) for one in range(value[0], value[1] + 1)]
    return list(_CATEGORIES.get(value, "-"))
