"""Rewrites a rule's regex so that it can be searched inside a larger subject, exactly.

A rule's path regex sees the path; Envoy's ``:path`` also has the query. A cookie's regex sees one
cookie's value; Envoy sees the whole Cookie header. Where the rewrite can't be exact the answer is
None, and the rule is left to the classifier: slower, never wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    r"(?P<class>\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\])"
    r"|(?P<escape>\\.)"
    r"|(?P<open>\((?:\?(?:P?<\w+>|:|i:))?)"
    r"|(?P<flags>\(\?i\))"
    r"|(?P<other>(?s:.))"
)
_SAFE_ESCAPES = frozenset("dw")
_WORD = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
_PUNCTUATION = frozenset(r"""!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~""")


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


def _tokens(pattern: str) -> list[_Token] | None:
    tokens: list[_Token] = []
    at = 0
    if pattern.startswith("(?i)"):
        tokens.append(_Token("flags", "(?i)"))
        at = 4
    while at < len(pattern):
        if pattern.startswith("(?", at) and not re.match(r"\(\?(?:P?<\w+>|:|i:)", pattern[at:]):
            return None
        found = _TOKEN.match(pattern, at)
        if found is None or found.lastgroup is None:
            return None
        tokens.append(_Token(found.lastgroup, found[0]))
        at = found.end()
    return tokens


def without(pattern: str, excluded: str, end: str, *, widen: bool, start: str = "^") -> str | None:
    """`pattern` rewritten to match the same within a subject that `excluded` characters bound.

    ``$`` becomes ``end`` and ``^`` becomes ``start``. With ``widen``, "." and negated classes have
    the excluded characters taken out; without it such patterns are given up (None).
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
        elif token.kind == "other":
            text = _other(tokens, index, excluded, end, widen=widen)
            text = start if text == "^" else text
        if text is None:
            return None
        out.append(text)
    return "".join(out)


def _escape_is_safe(text: str, excluded: str) -> bool:
    return text[1] in _SAFE_ESCAPES or (text[1] in _PUNCTUATION and text[1] not in excluded)


def _other(tokens: list[_Token], index: int, excluded: str, end: str, *, widen: bool) -> str | None:
    text = tokens[index].text
    if text == "." and not excluded:
        return text
    if text == ".":
        return f"[^{_in_class(excluded)}\\n]" if widen else None
    if text == "$":
        return end if _at_end(tokens, index) else None
    if text in "*+?{}|)^":
        return text
    return None if text in excluded or not text.isascii() else text


def _at_end(tokens: list[_Token], index: int) -> bool:
    """Whether nothing has to match after this ``$``."""
    depth = 0
    closing = False
    for token in tokens[index + 1 :]:
        if token.kind == "open":
            depth += 1
        if token.text == ")" and token.kind == "other":
            depth -= 1
            if depth < 0:
                closing, depth = True, 0
            continue
        if closing or (depth == 0 and token.text != "|" and not _branch_follows(tokens, index)):
            return False
    return True


def _branch_follows(tokens: list[_Token], index: int) -> bool:
    following = tokens[index + 1]
    return following.kind == "other" and following.text in "|)"


def _in_class(chars: str) -> str:
    return "".join(f"\\{char}" if char in r"\]^-[" else char for char in chars).replace("\t", "\\t")


def _class(text: str, excluded: str, *, widen: bool) -> str | None:
    if text.startswith("[^"):
        return f"[^{_in_class(excluded)}{text[2:]}" if widen else None
    members = class_members(text[1:-1])
    if members is None or members & set(excluded):
        return None
    return text


def class_members(body: str) -> set[str] | None:
    """The characters of a positive class's inside; None where that takes more than ASCII ranges."""
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


def anchored(pattern: str) -> tuple[str, bool, bool] | None:
    """The pattern without its outer ``^`` and ``$``, and which it had; None if that is unclear."""
    tokens = _tokens(pattern)
    if tokens is None:
        return None
    flags = ""
    if tokens and tokens[0].kind == "flags":
        flags, tokens = "(?i)", tokens[1:]
    depth = 0
    for token in tokens:
        depth += token.kind == "open"
        depth -= token.kind == "other" and token.text == ")"
        if token.text == "|" and token.kind == "other" and depth == 0:
            return None
    texts = [(token.kind, token.text) for token in tokens]
    start = bool(texts) and texts[0] == ("other", "^")
    stop = bool(texts) and texts[-1] == ("other", "$")
    inner = tokens[start : len(tokens) - stop]
    if any(token.kind == "other" and token.text in "^$" for token in inner):
        return None
    body = "".join(token.text for token in inner)
    return (f"(?i:{body})" if flags else body), start, stop
