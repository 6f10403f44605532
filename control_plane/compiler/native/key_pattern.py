r"""Regexes so plain that there is one way only to read a key out of a text.

The evaluator captures a key with a regex and then looks it up. Envoy can't look a capture up; it
can only test whether the header matches a regex. So for each key there is a test: the regex with
that key in the place of the group. The test holds exactly when the group captures that key, if the
text can be read in one way only. It can't for `^(?<p>[0-9]+)1`, where 111 may give 11, or 1 in
another reading.

A key pattern is therefore `^`, literals and classes, each once or repeated, with one named group
around some of them; and each run of a class ends where a character follows that the class does not
have. For example, `^v1:(?<p>cell-[0-9]+)-` is

    KeyPattern(before=(Literal("v1:"),),
               key=(Literal("cell-"), Repeat(frozenset("0123456789"), many=True)),
               after=(Literal("-"),), closed=False)
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
"""What bounds a cookie, blanks that Envoy trims, and what no header can hold."""


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
    """A regex that begins with ``^``; the parts of ``key`` are its group."""

    before: tuple[Part, ...]
    key: tuple[Part, ...]
    after: tuple[Part, ...]
    closed: bool
    """Whether it ends with ``$``: nothing else may follow."""

    @property
    def open_ended(self) -> frozenset[str]:
        """The characters that can't follow a match, because they would be part of its last run."""
        last = (*self.before, *self.key, *self.after)[-1]
        if self.closed or isinstance(last, Literal) or not last.many:
            return frozenset()
        return last.members

    def matching(self, keys: Iterable[str]) -> list[str]:
        """Return those of the keys that the group can capture."""
        whole = re.compile("".join(_python(part) for part in self.key))
        return [key for key in keys if whole.fullmatch(key)]

    def regex(self, keys: Iterable[str]) -> str:
        """Return RE2 for this pattern around one of the keys, without anchors."""
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
        token = _TOKEN.match(pattern, at)
        if token is None:
            return None
        at = token.end()
        if token["end"]:
            closed = True
        elif token["open"] or token["close"]:
            if len(sections) != (1 if token["open"] else 2) or token["group"] not in (None, group):
                return None
            sections.append([])
        elif not _add(sections[-1], token):
            return None
    if len(sections) != 3 or not sections[1]:
        return None
    before, key, after = map(tuple, sections)
    plain = _one_way_to_read((*before, *key, *after))
    return KeyPattern(before, key, after, closed) if plain else None


def leading_literal(pattern: str) -> str:
    """Return the text with which every match of an anchored regex starts; "" if there is none."""
    text = ""
    at = 1 if pattern.startswith("^") else len(pattern)
    if "|" in pattern:
        return ""
    while (token := _TOKEN.match(pattern, at)) and token["literal"]:
        text += token["literal"].removeprefix("\\")
        at = token.end()
    return text


def _add(parts: list[Part], token: re.Match[str]) -> bool:
    """Append a literal or a class; return False if that is not plain enough."""
    if token["literal"]:
        char = token["literal"][-1]
        if char in _UNSAFE:
            return False
        if parts and isinstance(parts[-1], Literal):
            parts[-1] = Literal(parts[-1].text + char)
        else:
            parts.append(Literal(char))
        return True
    body = token["members"]
    members = class_members(body if body.startswith("\\") else body[1:-1])
    if not members or members & _UNSAFE:
        return False
    parts.append(Repeat(frozenset(members), bool(token["many"])))
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
    """Return an RE2 class of exactly these ASCII characters."""
    return "[" + "".join(f"\\x{ord(char):02x}" for char in sorted(members)) + "]"
