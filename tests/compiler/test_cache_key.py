"""What an answer depends on: two requests with one key never get two answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.compiler.cache_key import looks_at, own_key, rest_key
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.regex import Regex

RULES = parse((Path(__file__).parents[2] / "rulesets" / "gitlab.json").read_text()).rules
BY_ID = {rule.id: index for index, rule in enumerate(RULES)}


@pytest.mark.parametrize(
    ("pattern", "slashes"),
    [
        ("^/t/(?<tenant>[^/]+)(?:/|$)", 3),
        ("^/(?<route>[^/]+)(?:/|%2[fF]|$)", 2),
        (r"^/(?<route>[^/]+)\.json$", 2),
        ("^/a", 2),
        ("^/a(?:/b)?$", 3),
        ("^/a(?:/[^/]+){2}/x$", 5),
        ("^/a(?:/[^/]+)*/x$", None),
        ("^/a.b$", 3),
        ("^/a.*$", None),
        ("^/a|/b", None),
        ("/a", None),
        ("^/[!-~]$", 3),
        (r"^/\d+$", 2),
        (r"^/\D$", 3),
        (r"^/\pL$", None),
        ("^/[[:alpha:]]$", None),
    ],
)
def test_how_far_a_regex_looks(pattern: str, slashes: int | None) -> None:
    assert looks_at(pattern) == slashes


atoms = st.sampled_from(
    ["a", "b", "/", ".", "[^/]", "[ab]", "[^a]", r"\d", "%", "-", r"\w", "(?:/a)"]
)
pieces = st.builds(
    lambda atom, many: atom + many, atoms, st.sampled_from(["", "*", "+", "?", "{1,2}"])
)
patterns = st.builds(
    lambda parts, end: "^/(?<c>" + "".join(parts) + ")" + end,
    st.lists(pieces, max_size=4),
    st.sampled_from(["", "$", "(?:/|$)", "(?:/|%2[fF]|$)"]),
)
rests = st.text("ab/%-1", max_size=8)


@given(patterns, st.text("ab/%-1", max_size=10), rests, rests)
@settings(max_examples=1500, deadline=None)
def test_paths_that_begin_alike_are_alike_to_the_regex(
    pattern: str, start: str, one: str, other: str
) -> None:
    slashes = looks_at(pattern)
    if slashes is None:
        return
    path = f"/{start}"
    at = -1
    for _ in range(slashes):
        at = path.find("/", at + 1)
        if at < 0:
            return
    begin = path[: at + 1]
    regex = Regex(pattern)
    assert regex.captures((begin + one).encode()) == regex.captures((begin + other).encode())


def test_gitlabs_names_are_kept_by_their_first_segment() -> None:
    index = BY_ID["route"]
    own = own_key(RULES[index], RULES[index + 1 :])
    assert own is not None
    assert (own.slashes, own.headers, own.query) == (2, (), False)
    rest = rest_key(RULES[index], RULES[index + 1 :])
    assert rest is not None
    assert {"cookie", "authorization", "private-token"} <= set(rest.headers)
    assert rest.query


def test_a_rule_of_another_beginning_does_not_count() -> None:
    """`^/v2/…` looks at everything, but no path under /groups/ can come to it."""
    index = BY_ID["group"]
    own = own_key(RULES[index], RULES[index + 1 :])
    assert own is not None
    assert own.slashes == 3
