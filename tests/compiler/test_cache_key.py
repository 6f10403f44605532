"""What an answer depends on: two requests with one key never get two answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.compiler.cache_key import literal_lead, looks_at, own_key, rest_key
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.regex import Regex
from control_plane.routing.rules.ruleset import Rule

RULES = parse((Path(__file__).parents[2] / "rulesets" / "gitlab.json").read_text()).rules
BY_ID = {rule.id: index for index, rule in enumerate(RULES)}


def path_rules(*patterns: str) -> tuple[Rule, ...]:
    """Return a rule for each regex, which claims its capture."""
    claims = {"claims": [{"one": "${k}"}]}
    return parse(
        [
            {"id": f"r{at}", "match": {"type": "path", "regexValue": pattern}}
            | {"action": "classify", "classify": claims}
            for at, pattern in enumerate(patterns)
        ]
    ).rules


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
        ("^/a/", 2),
        ("^/a/$", 3),
        ("^/a/?", 3),
        (r"^/a/(?:b|c)(?:/|(?:\.[^/.]+)?$)", 3),
        ("^/(?:a(?:/|$)|b/c(?:/|$))", 3),
        (r"^/a(?:/\b|$)", 3),
        ("^/a(?:/)+", None),
        ("^/a.b$", 3),
        ("^/a.*$", None),
        ("^/a|/b", None),
        ("/a", None),
        ("^/[!-~]$", 3),
        (r"^/\d+$", 2),
        (r"^/\D$", 3),
        (r"^/\pL$", None),
        ("^/[[:alpha:]]$", None),
        ("(?i)^/a$", None),
        ("^/(?i:a)$", 2),
        (r"^/\x2f$", None),
        (r"^/\Q/\E$", None),
        ("^/a{,2}$", None),
        ("^/[^(?<a>-~]$", 3),
        ("^/[!&&x]$", None),
        ("^" + 200 * "(?:" + "/a" + 200 * ")", None),
    ],
)
def test_how_far_a_regex_looks(pattern: str, slashes: int | None) -> None:
    assert looks_at(pattern) == slashes


@pytest.mark.parametrize(
    ("pattern", "lead"),
    [
        ("^/api/(?<k>[^/]+)", "/api/"),
        (r"^/a\.b-c$", "/a.b-c"),
        ("^/ab*", "/a"),
        ("^/ab{0}", "/a"),
        ("^/(?:ab)", "/"),
        ("^/x|/y", ""),
        ("^/x(?:1)|^/api/[^/]+/(?<k>deep)/z", ""),
        (r"^/x\(1|^/y\)z", ""),
        ("^/x[|]y", "/x|y"),
        ("(?:^/x)|y", ""),
        ("(?i)^/x", ""),
        ("/x", ""),
    ],
)
def test_what_each_path_begins_with(pattern: str, lead: str) -> None:
    assert literal_lead(pattern) == lead


atoms = st.sampled_from(
    ["a", "b", "/", ".", "[^/]", "[ab]", "[^a]", r"\d", "%", "-", r"\w", "(?:/a)"]
)
pieces = st.builds(
    lambda atom, many: atom + many, atoms, st.sampled_from(["", "*", "+", "?", "{1,2}"])
)
patterns = st.builds(
    lambda parts, end: "^/(?<c>" + "".join(parts) + ")" + end,
    st.lists(pieces, max_size=4),
    st.sampled_from(
        [
            *("", "$", "(?:/|$)", "(?:/|%2[fF]|$)", r"(?:/|(?:\.[^/.]+)?$)", "(?:a/|b)", "(?:|/)"),
            *("(?:[ab]|/)", "(?<e>a/|(?:b|/))", "(?:/a/|b/|$)", "/?", "(?:/a)?/", r"(?:/\b|$)"),
        ]
    ),
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


@given(st.lists(patterns, min_size=1, max_size=3), st.text("ab/%-1", max_size=10))
@settings(max_examples=500, deadline=None)
def test_a_path_that_matches_has_the_beginning_of_its_regex(parts: list[str], rest: str) -> None:
    groups = (part.replace("<c>", f"<c{at}>") for at, part in enumerate(parts))
    pattern = "|".join(groups)
    if Regex(pattern).matches(f"/{rest}".encode()):
        assert f"/{rest}".startswith(literal_lead(pattern))


def test_a_rule_counts_if_its_other_alternative_takes_the_path() -> None:
    first, second = path_rules(
        "^/api/(?<k>[^/]+)(?:/|$)", "^/x(?:1)|^/api/[^/]+/(?<k>deep)/z"
    )  # fmt: skip
    own = own_key(first, [second])
    assert own is not None
    assert own.slashes is None


def test_a_rule_counts_if_envoy_can_not_keep_its_paths_from_the_route() -> None:
    """Envoy has no exact condition for ``\\S``: any path comes to the route of the first rule."""
    first, second = path_rules(r"^/x/\S(?<k>y)", "^/y/[^/]+/[^/]+/[^/]+/(?<k>[^/]+)")
    own = own_key(first, [second])
    assert own is not None
    assert own.slashes == 6
    first, second = path_rules("^/x/[^/](?<k>y)", "^/y/[^/]+/[^/]+/[^/]+/(?<k>[^/]+)")
    own = own_key(first, [second])
    assert own is not None
    assert own.slashes == 3


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
