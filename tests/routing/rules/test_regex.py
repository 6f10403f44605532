"""RE2 as Envoy uses it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.routing.rules.regex import MAX_PATTERN_CHARS, Regex, RegexError, RegexSet


def test_absent_groups_are_left_out_and_the_leftmost_match_counts() -> None:
    regex = Regex("(?<a>a)|(?P<b>b)")
    assert regex.groups == ("a", "b")
    assert regex.captures(b"xba") == {"b": b"b"}
    assert regex.captures(b"x") is None
    assert Regex("x").captures(b"x") == {}


def test_each_byte_is_a_character() -> None:
    assert Regex("^.{2}$").matches("ü".encode())
    assert Regex(r"^\xff$").matches(b"\xff")


def test_case_counts_unless_it_is_folded() -> None:
    assert not Regex("^a$").matches(b"A")
    assert Regex("^a$", case_sensitive=False).matches(b"A")
    assert Regex("a") != Regex("a", case_sensitive=False)
    assert len({Regex("a"), Regex("a"), Regex("b")}) == 2


@pytest.mark.parametrize("pattern", ["(", "(?=a)", r"\1", "a" * (MAX_PATTERN_CHARS + 1)])
def test_what_re2_refuses_is_an_error_in_its_words(pattern: str) -> None:
    with pytest.raises(RegexError, match=r"."):
        Regex(pattern)


patterns = st.sampled_from(["a", "^a", "b$", "a.*b", "", "(?i)A", "[ab]{2}", "x", "^$"])
sets = st.lists(
    st.builds(lambda text, fold: Regex(text, case_sensitive=fold), patterns, st.booleans())
)


@given(sets, st.lists(st.text("abAx", max_size=5), max_size=4))
@settings(max_examples=200, deadline=None)
def test_a_set_finds_what_each_of_its_patterns_finds(
    regexes: list[Regex], subjects: list[str]
) -> None:
    together = RegexSet(tuple(regexes))
    for subject in subjects:
        raw = subject.encode()
        occurring = {at for at, regex in enumerate(regexes) if regex.matches(raw)}
        assert together.search(raw) == occurring | {len(regexes)}
