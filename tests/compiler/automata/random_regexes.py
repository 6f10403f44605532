"""Random regexes, mostly of the subset, and texts that are made from them.

A text is walked out of the regex's tree, so that it often occurs in it, and is then changed in a few
places. Alternatives with an empty way, repetitions of what may be empty, and classes that fold are
frequent: machines that run regexes differ there.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from control_plane.compiler.automata.instructions import Instructions, Kind, instructions
from control_plane.compiler.regex_tree import regex_tree
from control_plane.routing.rules.regex import Regex, RegexError

_ATOMS = (
    "a", "b", "c", "k", "s", "A", "/", "1", "-", "_", "%", " ", ".", r"\.", "[ab]", "[^a]", "[^/]", "[a-c]", "[A-Z]",
    "[^/%]", r"[^\w]", r"[^\W-]", "[0-9A-Za-z_.-]", r"\w", r"\W", r"\d", r"\D", r"\s", r"\S", "(?i:a)", "(?i:k)",
    "(?i:[ab])", "(?i:[^B])", "(?s:.)", "(?is:b.)", "(?:)", "abc", "%2[fF]", "/api/",
)  # fmt: skip
_LOOKS = ("^", "$", r"\b", r"\B")
_REPEATS = (
    "*", "*", "+", "+", "?", "?", "*?", "+?", "??", "{2}", "{0,2}", "{1,2}", "{2,}", "{1,3}?", "{0,}", "{1,}", "{0}",
    "{3,}?", "{0,1}",
)  # fmt: skip
_STARTS = ("", "", "^", "^", "^/", "(?:^|&)")
_ENDS = ("", "", "", "$", "(?:/|$)", r"(?:/|(?:\.[^/.]+)?$)")
_BYTES = b"aabbcck/11AKs-_.% \n\t\x0b\x00\x7f\x80\xb5\xe9\xff"


@dataclass(slots=True)
class RandomRegex:
    """One regex that RE2 accepts, and texts for it."""

    choose: random.Random
    regex: Regex = field(init=False)
    _program: Instructions | None = field(init=False, default=None)
    _groups: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        while True:
            self._groups = 0
            body = self._part(self.choose.choice((2, 3, 4, 5)))
            pattern = self.choose.choice(_STARTS) + body + self.choose.choice(_ENDS)
            try:
                self.regex = Regex(pattern)
            except RegexError:
                continue
            break
        tree = regex_tree(pattern)
        self._program = None if tree is None else instructions(tree)

    def text(self) -> bytes:
        """Return a text in which the regex often occurs."""
        made = bytearray(self._walked())
        for _ in range(self.choose.choice((0, 0, 0, 1, 1, 2))):
            self._change(made)
        return bytes(made)

    def _part(self, depth: int) -> str:
        kind = self.choose.random()
        if depth <= 0 or kind < 0.3:
            return self.choose.choice(_ATOMS)
        if kind < 0.36:
            return self.choose.choice(_LOOKS)
        if kind < 0.56:
            return self._part(depth - 1) + self._part(depth - 1)
        if kind < 0.7:
            ways = [self._part(depth - 1), self._part(depth - 2)]
            ways += self.choose.choice(([], [], [""], [self._part(depth - 2)]))
            self.choose.shuffle(ways)
            return self._grouped("|".join(ways))
        if kind < 0.88:
            repeated = self._part(depth - 1)
            if len(repeated) > 1 or self.choose.random() < 0.3:
                repeated = self._grouped(repeated)
            return repeated + self.choose.choice(_REPEATS)
        return self._grouped(self._part(depth - 1))

    def _grouped(self, inside: str) -> str:
        if self.choose.random() < 0.5:
            return f"(?:{inside})"
        self._groups += 1
        start = self.choose.choice(("(", "(?<g{}>", "(?<g{}>", "(?P<g{}>"))
        return f"{start.format(self._groups)}{inside})"

    def _walked(self) -> bytes:
        """Walk at random from the start of the instructions to the match."""
        made = bytearray()
        if self._program is None:
            return bytes(self.choose.choices(_BYTES, k=self.choose.randrange(6)))
        at = self._program.start
        for _ in range(60):
            one = self._program.code[at]
            if one.kind is Kind.MATCH:
                break
            if one.kind is Kind.BYTE and one.argument:
                made.append(self._member(one.argument))
            other = one.kind is Kind.ALT and self.choose.random() < 0.45
            at = one.other if other else one.out
        return bytes(made)

    def _member(self, mask: int) -> int:
        for _ in range(6):
            guess = self.choose.choice(_BYTES)
            if mask >> guess & 1:
                return guess
        lowest = mask & -mask
        return lowest.bit_length() - 1

    def _change(self, made: bytearray) -> None:
        at = self.choose.randrange(len(made) + 1)
        kind = self.choose.randrange(5)
        if kind == 0:
            made.insert(at, self.choose.choice(_BYTES))
        elif kind == 1:
            del made[at : at + 1]
        elif kind == 2:
            made[at : at + 1] = bytes([self.choose.choice(_BYTES)])
        elif kind == 3:
            made[at:at] = made[: self.choose.randrange(4)]
        else:
            made[at : at + 1] = made[at : at + 1].swapcase()
