"""A regex has a tree only if RE2 and Python's parser read it alike."""

from __future__ import annotations

import random
import re

import pytest

from control_plane.compiler.regex_tree import MAX_GROUPS, regex_tree
from control_plane.routing.rules.regex import Regex, RegexError

# Where Python's matcher means something else by a tree than RE2: ``$`` before a last newline, the
# vertical tab in ``\s``, ``\B`` in an empty text, and letters beyond ASCII. The texts have none of them.
TEXTS = [b"a", b"ab", b"/a/b", b"x-1_%2f", b"a b#c", b"{a},[b]", b"A.B~", b"a^b$|c"]
PIECES = (
    "a", "b", "/", "-", "_", "%", "~", " ", "#", ".", r"\.", r"\/", r"\-", r"\#", r"\ ", "[a-c]", "[^/]", "[-a]", "[]a]",
    "[^]]", "[a^]", "[ #]", r"[\]]", r"[\w.-]", "(a)", "(?:a|b)", "(?<n>a)", "(?P<n>b)", "(?i:A)", "(?s:.)", "(?is:a.)",
    "*", "+", "?", "*?", "{2}", "{1,2}", "{,2}", "{a}", "^", "$", "|", r"\b", r"\B", r"\d", r"\S", "[[:alpha:]]", r"\x61",
    r"\pL", r"\Q.\E", r"\A", r"\z", r"\C", "(?#c)", "(?=a)", "(?>a)", "a++", "(?x: a )", "(?-i:a)", "(?m:^a)", "(?U:a+)",
    "&&", "--", "[a--b]", "[a&&b]", "[a||b]", "[0-9a-f]", r"[\d-]", "(?i)a",
)  # fmt: skip


@pytest.mark.parametrize(
    "pattern",
    [
        r"\pL", "[[:alpha:]]", r"\x2f", r"\Q/\E", "a{,2}", "(?i)a", "(?m:^a)", "(?-i:a)", "(?x: a )", "(?=a)",
        "é", "[a&&b]", r"\z", "\n", "(?U:a+)", "(" * (MAX_GROUPS + 1) + ")" * (MAX_GROUPS + 1),
    ],
)  # fmt: skip
def test_what_could_be_read_otherwise_has_no_tree(pattern: str) -> None:
    assert regex_tree(pattern) is None


def test_named_groups_have_their_numbers_in_the_tree() -> None:
    tree = regex_tree("(?:a)(?<b>x)(y)(?P<c>z)(?i:w)")
    assert tree is not None
    assert tree.groups == {"b": 2, "c": 4}


def test_a_tree_means_what_re2_means() -> None:
    choose = random.Random(3)
    compared = 0
    while compared < 2_000:
        pattern = "".join(choose.choices(PIECES, k=choose.randrange(1, 6)))
        tree = regex_tree(pattern)
        if tree is None:
            continue
        try:
            regex = Regex(pattern)
        except RegexError:
            continue
        compared += 1
        python = re.compile(re.sub(r"\(\?P?<n>", "(", pattern), re.ASCII)
        for text in TEXTS:
            found = python.search(text.decode())
            assert (found is not None) is regex.matches(text), (pattern, text)
