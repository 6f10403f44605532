"""What keeps a regex from being an automaton, and how to write the same so that it is one."""

from __future__ import annotations

import re
from collections.abc import Iterable

from control_plane.compiler.regex_tree import regex_tree

_CONSTRUCTS: Iterable[tuple[re.Pattern[str], str]] = tuple(
    (re.compile(construct), hint)
    for construct, hint in (
        (r"\[\[:\w+:\]", "write the characters: [A-Za-z] for [[:alpha:]]"),
        (r"^\(\?i\)|\^\(\?i\)", "write (?i:…) around what ignores case"),
        (r"\(\?[a-zU-]+\)", "write a group with the flags, such as (?i:…) or (?s:…)"),
        (r"\\[xX]|\\[0-7]", "write the character itself, with a backslash before punctuation"),
        (r"\\Q", "write a backslash before each character instead of \\Q…\\E"),
        (r"\\[pP]", "write the ASCII characters in brackets"),
        (r"\\C", "write a dot, or (?s:.) where it may be a line's end"),
        (r"\\[Az]", "write ^ and $"),
        (r"[^\x00-\x7f]", "write ASCII only; a path has the percent-encoded bytes"),
        (r"\{,", "write the lower bound: {0,3}"),
    )
)


def rewrite_hint(pattern: str) -> str | None:
    """Return how to rewrite a regex that has no tree; None if it has one, or nobody knows."""
    if regex_tree(pattern) is not None:
        return None
    return next((hint for construct, hint in _CONSTRUCTS if construct.search(pattern)), None)
