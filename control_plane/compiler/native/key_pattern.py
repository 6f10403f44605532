"""Regexes so plain that there is one way only to read a key out of a text.

A key pattern is ``^``, literals and classes, once or repeated, with one named group around some.
Each run of a class ends where a character follows that the class does not have. So it captures
a key exactly where the pattern with that key in the group's place matches.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from control_plane.compiler.native.regex_rewrite import class_members

_TOKEN = re.compile(
    r"(?P<members>\[(?!\^)(?:\\.|[^\]\\\[])+\]|\\[dw])(?P<many>\+?)(?![*+?{])"
    r"|(?P<open>\(\?P?<(?P<group>\w+)>)"
    r"|(?P<close>\))"
    r"|(?P<end>\$\Z)"
    r"|(?P<literal>\\[^A-Za-z0-9]|[A-Za-z0-9_\-:/~!@%&=,;'\"<> ])(?![*+?{])"
)
_UNSAFE = frozenset("; \t\n\r\0")
"""Bounds of a cookie, blanks that Envoy trims, and what no header can hold."""


@dataclass(frozen=True, slots=True)
class Literal:
    """Fixed text."""

    text: str


@dataclass(frozen=True, slots=True)
class Repeat:
    """One character of a class, given by its members, or (``many``) one or more."""

    members: frozenset[str]
    many: bool


Part = Literal | Repeat


@dataclass(frozen=True, slots=True)
class KeyPattern:
    """``^`` before key after; ``closed``: nothing else may follow."""

    before: tuple[Part, ...]
    key: tuple[Part, ...]
    after: tuple[Part, ...]
    closed: bool

    @property
    def open_ended(self) -> frozenset[str]:
        """What may not follow a matched text, because it would be part of its last run."""
        last = (*self.before, *self.key, *self.after)[-1]
        if self.closed or isinstance(last, Literal) or not last.many:
            return frozenset()
        return last.members

    def matching(self, keys: Iterable[str]) -> list[str]:
        """Those keys that the group can capture."""
        whole = re.compile("".join(_python(part) for part in self.key))
        return [key for key in keys if whole.fullmatch(key)]

    def regex(self, keys: Iterable[str]) -> str:
        """RE2 for this pattern around one of the keys, without anchors."""
        key = "|".join(re.escape(key) for key in keys)
        before, after = ("".join(_re2(p) for p in parts) for parts in (self.before, self.after))
        return f"{before}(?:{key}){after}"


def parse_key_pattern(pattern: str, group: str) -> KeyPattern | None:
    """Read an anchored regex whose only group is ``group``; None if it is not plain enough."""
    if not pattern.startswith("^"):
        return None
    sections: list[list[Part]] = [[]]
    closed = False
    at = 1
    while at < len(pattern):
        found = _TOKEN.match(pattern, at)
        if found is None:
            return None
        at = found.end()
        if found["end"]:
            closed = True
        elif found["open"] or found["close"]:
            if len(sections) != (1 if found["open"] else 2) or found["group"] not in (None, group):
                return None
            sections.append([])
        elif not _add(sections[-1], found):
            return None
    if len(sections) != 3 or not sections[1]:
        return None
    made = KeyPattern(tuple(sections[0]), tuple(sections[1]), tuple(sections[2]), closed)
    return made if _one_way_to_read((*made.before, *made.key, *made.after)) else None


def leading_literal(pattern: str) -> str:
    """The text that everything matched by an anchored regex starts with; "" if there is none."""
    text = ""
    at = 1 if pattern.startswith("^") else len(pattern)
    if "|" in pattern:
        return ""
    while (found := _TOKEN.match(pattern, at)) and found["literal"]:
        text += found["literal"].removeprefix("\\")
        at = found.end()
    return text


def _add(parts: list[Part], found: re.Match[str]) -> bool:
    if found["literal"]:
        char = found["literal"][-1]
        if char in _UNSAFE:
            return False
        if parts and isinstance(parts[-1], Literal):
            parts[-1] = Literal(parts[-1].text + char)
        else:
            parts.append(Literal(char))
        return True
    body = found["members"]
    members = class_members(body if body.startswith("\\") else body[1:-1])
    if not members or members & _UNSAFE:
        return False
    parts.append(Repeat(frozenset(members), bool(found["many"])))
    return True


def _one_way_to_read(parts: tuple[Part, ...]) -> bool:
    for part, following in pairwise(parts):
        if isinstance(part, Repeat) and part.many:
            starts = {following.text[0]} if isinstance(following, Literal) else following.members
            if part.members & starts:
                return False
    return True


def _python(part: Part) -> str:
    if isinstance(part, Literal):
        return re.escape(part.text)
    return _python_class(part) + "+" * part.many


def _python_class(part: Repeat) -> str:
    return "[" + "".join(re.escape(char) for char in sorted(part.members)) + "]"


def _re2(part: Part) -> str:
    if isinstance(part, Literal):
        return re.escape(part.text)
    return re2_class(part.members) + "+" * part.many


def re2_class(members: frozenset[str]) -> str:
    """An RE2 class of exactly these ASCII characters."""
    return "[" + "".join(f"\\x{ord(char):02x}" for char in sorted(members)) + "]"
