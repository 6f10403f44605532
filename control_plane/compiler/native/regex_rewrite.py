r"""Rewrites a rule's regex so that it can be searched inside a larger subject, exactly.

A rule's path regex sees the path; Envoy's ``:path`` also has the query. A cookie's regex sees one
cookie's value; Envoy sees the whole Cookie header. So what the regex took for the end is followed
by "?" or ";" there, and "." or ``[^/]`` could run across that bound. The rewrite puts the bound in
the place of ``$`` and takes it out of classes. For a path, where "?" is the bound:

    ^/a$            ^/a(?:\?|$)
    ^/[^/]+/x       ^/[^?/]+/x
    a.b             a[^?\n]b
    \S              None: it may take a "?", and there is no way to except that

Where the rewrite can't be exact the answer is None, and the rule is left to the classifier: that
is slower and never wrong. RE2's own parser is out of reach, so a pattern is taken apart into
tokens, and whatever is not among the simple ones is given up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

_TOKEN = re.compile(
    r"(?P<class>\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\])"
    r"|(?P<escape>\\.)"
    r"|(?P<open>\((?:\?(?:P?<\w+>|:|i:))?)"
    r"|(?P<flags>\(\?i\))"
    r"|(?P<other>(?s:.))"
)
_READABLE_GROUP = re.compile(r"\(\?(?:P?<\w+>|:|i:)")
_SAFE_ESCAPES = frozenset("dw")
_WORD = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
_PUNCTUATION = frozenset(r"""!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~""")


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str

    def reads(self, text: str) -> bool:
        """Return whether it is this operator, and not, for example, an escape of it."""
        return self.kind == "other" and self.text == text


class Anchored(NamedTuple):
    """A pattern taken off its anchors."""

    body: str
    start: bool
    """Whether it began with ``^``."""
    end: bool
    """Whether it ended with ``$``."""


def without(pattern: str, excluded: str, end: str, *, widen: bool, start: str = "^") -> str | None:
    """Rewrite a pattern to match the same within a subject that ``excluded`` characters bound.

    Args:
        end: What takes the place of ``$``.
        start: What takes the place of ``^``.
        widen: Take the excluded characters out of "." and of negated classes; if False, patterns
            with such are given up.

    Returns:
        The rewritten pattern; None if there is none that matches exactly the same.
    """
    tokens = _tokens(pattern)
    if tokens is None:
        return None
    out: list[str] = []
    for index, token in enumerate(tokens):
        text: str | None = token.text
        if token.kind == "class":
            text = _class(token.text, excluded, widen=widen)
        elif token.kind == "escape":
            text = token.text if _escape_is_safe(token.text, excluded) else None
        elif token.reads("^"):
            text = start
        elif token.reads("$"):
            text = end if _nothing_follows(tokens, index) else None
        elif token.kind == "other":
            text = _character(token.text, excluded, widen=widen)
        if text is None:
            return None
        out.append(text)
    return "".join(out)


def anchored(pattern: str) -> Anchored | None:
    """Take the outer ``^`` and ``$`` off; None if it is unclear what they anchor."""
    tokens = _tokens(pattern)
    if tokens is None:
        return None
    folds = bool(tokens) and tokens[0].kind == "flags"
    tokens = tokens[folds:]
    if not tokens:
        return Anchored("(?i:)" if folds else "", start=False, end=False)
    start, end = tokens[0].reads("^"), tokens[-1].reads("$")
    inner = tokens[start : len(tokens) - end]
    if _has_branches(tokens) or any(token.reads("^") or token.reads("$") for token in inner):
        return None
    body = "".join(token.text for token in inner)
    return Anchored(f"(?i:{body})" if folds else body, start, end)


def class_members(body: str) -> set[str] | None:
    """Return the characters of a positive class, given its inside.

    None where that takes more than single ASCII characters, ranges, ``\\d`` and ``\\w``.
    """
    chars: set[str] = set()
    at = 0
    while at < len(body):
        char, at = body[at], at + 1
        if char == "[" or not char.isascii():
            return None
        if char == "\\":
            char, at = body[at], at + 1
            if char in "dw":
                chars |= set("0123456789" if char == "d" else _WORD)
                continue
            if char not in _PUNCTUATION:
                return None
        if body[at : at + 1] == "-" and at + 1 < len(body):
            last = body[at + 1]
            if last == "\\" or last < char:
                return None
            chars |= {chr(code) for code in range(ord(char), ord(last) + 1)}
            at += 2
        else:
            chars.add(char)
    return chars


def _tokens(pattern: str) -> list[_Token] | None:
    tokens: list[_Token] = []
    at = 0
    if pattern.startswith("(?i)"):
        tokens.append(_Token("flags", "(?i)"))
        at = 4
    while at < len(pattern):
        if pattern.startswith("(?", at) and not _READABLE_GROUP.match(pattern, at):
            return None
        match = _TOKEN.match(pattern, at)
        if match is None or match.lastgroup is None:
            return None
        tokens.append(_Token(match.lastgroup, match[0]))
        at = match.end()
    return None if _repeats_anchor(tokens) else tokens


def _repeats_anchor(tokens: Sequence[_Token]) -> bool:
    """Return whether an anchor may be passed over, as in ``^?a``.

    Taken away or replaced, it would leave the repetition without anything to repeat.
    """
    return any(
        (token.reads("^") or token.reads("$"))
        and following.kind == "other"
        and following.text in "*+?{"
        for token, following in pairwise(tokens)
    )


def _class(text: str, excluded: str, *, widen: bool) -> str | None:
    if text.startswith("[^"):
        # "]" and "-" are members where they come first, which they do no more.
        rest = "\\" + text[2:] if text[2] in "]-" else text[2:]
        return f"[^{_in_class(excluded)}{rest}" if widen else None
    members = class_members(text[1:-1])
    return None if members is None or members & set(excluded) else text


def _in_class(chars: str) -> str:
    return "".join(f"\\{char}" if char in r"\]^-[" else char for char in chars).replace("\t", "\\t")


def _escape_is_safe(text: str, excluded: str) -> bool:
    return text[1] in _SAFE_ESCAPES or (text[1] in _PUNCTUATION and text[1] not in excluded)


def _character(text: str, excluded: str, *, widen: bool) -> str | None:
    """Rewrite what is neither class nor escape nor anchor."""
    if text == ".":
        wide = f"[^{_in_class(excluded)}\\n]" if widen else None
        return wide if excluded else text
    if text in "*+?{}|)":
        return text
    return None if text in excluded or not text.isascii() else text


def _nothing_follows(tokens: Sequence[_Token], index: int) -> bool:
    """Return whether nothing can follow the ``$`` at this index, not even a repetition.

    ``^(?:(?:a|b$)|c)`` is such, because other branches don't follow; ``(?:a$)b`` is not.
    """
    depth = 0
    elsewhere = False
    """Whether this is another branch of a group that the ``$`` stands in."""
    for token in tokens[index + 1 :]:
        if depth == 0 and token.reads("|"):
            elsewhere = True
        elif depth == 0 and token.reads(")"):
            elsewhere = False
        elif not elsewhere:
            return False
        else:
            depth += token.kind == "open"
            depth -= token.reads(")")
    return True


def _has_branches(tokens: Sequence[_Token]) -> bool:
    """Return whether there is a ``|`` outside of all groups."""
    depth = 0
    for token in tokens:
        depth += token.kind == "open"
        depth -= token.reads(")")
        if token.reads("|") and depth == 0:
            return True
    return False
