"""A regex rewritten for a larger subject matches there exactly what it matched, or there is none."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.compiler.native.regex_rewrite import anchored, class_members, without
from control_plane.routing.rules.regex import Regex, RegexError


@pytest.mark.parametrize(
    ("pattern", "rewritten"),
    [
        ("^/a$", r"^/a(?:\?|$)"),
        ("^/[^/]+/x", "^/[^?/]+/x"),
        ("[^]/]", r"[^?\]/]"),
        ("[^-a]", r"[^?\-a]"),
        ("a.b", r"a[^?\n]b"),
        (r"\d+", r"\d+"),
        ("^(?:a|b$)", r"^(?:a|b(?:\?|$))"),
        ("^/(?:(?:a|b$)|c(?:/|$))", r"^/(?:(?:a|b(?:\?|$))|c(?:/|(?:\?|$)))"),
        ("(?:a$|b)c", None),
        ("(?:a$|b)?", None),
        ("(?:(?:a$|b)|c)*", None),
        ("a$b", None),
        ("(?:a$)b", None),
        ("(?s)a", None),
        (r"\S", None),
        ("^*/a", None),
        (r"\?", None),
        ("[a?]", None),
        ("[!-~]", None),
    ],
)
def test_path_regexes_are_rewritten_exactly_or_not_at_all(
    pattern: str, rewritten: str | None
) -> None:
    assert without(pattern, "?", r"(?:\?|$)", widen=True) == rewritten


@pytest.mark.parametrize(
    ("pattern", "inner"),
    [("^a$", ("a", True, True)), ("a", ("a", False, False)), ("^a|b$", None), ("a^b", None),
     ("^?a$", None),
     ("(?i)^a", ("(?i:a)", True, False))],
)  # fmt: skip
def test_anchors_are_taken_off_only_where_that_is_clear(pattern: str, inner: object) -> None:
    assert anchored(pattern) == inner


atoms = st.sampled_from(["a", "b", "/", ".", "[^/]", "[^]/]", "[^-/]", "[ab]", r"\d", "%", "-"])


pieces = st.builds(lambda atom, many: atom + many, atoms, st.sampled_from(["", "*", "+", "?"]))
patterns = st.builds(
    lambda start, parts, end: start + "".join(parts) + end,
    st.sampled_from(["", "^", "^/"]),
    st.lists(pieces, max_size=4),
    st.sampled_from(["", "$", "(?:/|$)"]),
)


@given(patterns, st.text("ab/%-1?", max_size=8), st.text("ab/?", max_size=5))
@settings(max_examples=500, deadline=None)
def test_a_rewritten_path_regex_sees_the_path_only(pattern: str, path: str, query: str) -> None:
    path = path.replace("?", "")
    inner = without(pattern, "?", r"(?:\?|$)", widen=True)
    assert inner is not None
    whole = Regex(rf"^[^?]*?(?:{inner})\C*$")
    wanted = Regex(pattern).matches(path.encode())
    assert whole.matches(path.encode()) is wanted
    assert whole.matches(f"{path}?{query}".encode()) is wanted


branches = st.recursive(
    patterns,
    lambda inner: st.builds(
        lambda many, repeated, after: f"(?:{'|'.join(many)}){repeated}{after}",
        st.lists(inner, min_size=1, max_size=3),
        st.sampled_from(["", "", "?", "*"]),
        st.sampled_from(["", "", "a", "/"]),
    ),
    max_leaves=6,
)


@given(branches, st.text("ab/%-1", max_size=8), st.text("ab/?", max_size=5))
@settings(max_examples=500, deadline=None)
def test_an_end_in_a_branch_stays_the_end_of_the_path(pattern: str, path: str, query: str) -> None:
    inner = without(pattern, "?", r"(?:\?|$)", widen=True)
    if inner is not None:
        whole = Regex(rf"^[^?]*?(?:{inner})\C*$")
        wanted = Regex(pattern).matches(path.encode())
        assert whole.matches(path.encode()) is wanted
        assert whole.matches(f"{path}?{query}".encode()) is wanted


bodies = st.lists(
    st.sampled_from(["a", "c-f", "0-9", r"\d", r"\w", r"\-", r"\]", "-", "^", ".", "+"]),
    min_size=1,
    max_size=4,
).map("".join)


@given(bodies.filter(lambda body: not body.startswith("^")))
@settings(max_examples=300, deadline=None)
def test_the_members_of_a_class_are_those_that_re2_takes(body: str) -> None:
    members = class_members(body)
    if members is None:
        return
    regex = Regex(f"^[{body}]$")
    assert members == {char for char in map(chr, range(128)) if regex.matches(char.encode())}


@given(
    st.sampled_from(["", "^"]),
    st.text(string.ascii_lowercase + r".*+?|()[]^$\/", max_size=8),
    st.sampled_from(["", "$"]),
    st.text("ab/.$^", max_size=6),
)
@settings(max_examples=500, deadline=None)
def test_what_is_taken_off_its_anchors_matches_the_same_with_them(
    start: str, body: str, end: str, subject: str
) -> None:
    pattern = start + body + end
    try:
        regex = Regex(pattern)
    except RegexError:
        return
    inner = anchored(pattern)
    if inner is None:
        return
    again = f"{'^' if inner.start else ''}(?:{inner.body}){'$' if inner.end else ''}"
    assert Regex(again).matches(subject.encode()) is regex.matches(subject.encode())
