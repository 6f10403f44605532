r"""Regexes as trees, as far as RE2 reads them as Python's parser does.

RE2 has no parser that Python can call, and Python's may read a regex in another way: ``$`` stands
before a last newline, too, ``(?x)`` drops spaces, ``\pL`` is an error. So a regex is first cut into
tokens that both are known to read alike. A regex with anything else in it (POSIX classes,
``\x2f``, flags but for the groups ``(?i:`` and ``(?s:``) has no tree.

Only the shape of the tree counts. What its nodes mean is RE2's: `AT_END` is the end of the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from re import _parser as parser
from typing import Any

_ESCAPED = r"\\[dDwWsS!-/:-@\[-`{-~]"
_MEMBER = rf"[A-Za-z0-9_/%.](?:-[A-Za-z0-9])?+|[ !#$&'()*+,:;<=>?@{{|}}~\"-]|{_ESCAPED}"
_TOKEN = re.compile(
    rf"""
    (?P<flags>\(\?(?:i|s|is|si):)
    |(?P<open>\((?:\?(?:P?<(?P<name>\w+)>|:)|(?!\?)))
    |\[\^?(?:(?!--|&&|~~|\|\|)(?:{_MEMBER}))++\]
    |{_ESCAPED}|\\[bB]
    |\{{[0-9]{{1,4}}(?:,[0-9]{{0,4}})?\}}
    |[)|.^$*+?]
    |[A-Za-z0-9_/%~!"&',:;<=>@`\ \#-]
    """,
    re.VERBOSE | re.ASCII,
)
"""What Python and RE2 are known to read alike. It has no ``{,2}``, for example."""
MAX_GROUPS = 100
"""A regex with more of them is not parsed: Python's parser calls itself for each."""


@dataclass(frozen=True, slots=True)
class RegexTree:
    """A regex as Python's parser gives it."""

    nodes: Any
    """A sequence of pairs: what a node is, and its parts."""
    groups: dict[str, int]
    """The number of each named group in `nodes`, where groups that do not capture count, too.

    Of several with one name, the first counts, as in RE2.
    """


@lru_cache(maxsize=4096)
def regex_tree(pattern: str) -> RegexTree | None:
    """Return the tree of a regex that RE2 accepts; None if Python might read it differently."""
    if pattern.count("(") > MAX_GROUPS:
        return None
    tokens: list[str] = []
    groups: dict[str, int] = {}
    opened = 0
    at = 0
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        if token is None:
            return None
        if token["open"]:
            opened += 1
            if token["name"]:
                groups.setdefault(token["name"], opened)
        # Groups that do not capture are numbered, too: so they keep their shape in the tree.
        tokens.append("(" if token["open"] else token[0])
        at = token.end()
    try:
        nodes = parser.parse("".join(tokens))
    except re.error:
        return None
    return RegexTree(nodes, groups)
