"""Conditions on headers say what the evaluator says of the match, and RE2 takes all of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.compiler.native.conditions import (
    Condition,
    exact_condition,
    necessary_condition,
)
from control_plane.routing.matching import Subjects, join_headers, match_failure
from control_plane.routing.model import Request
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.problems import RulesetError
from control_plane.routing.rules.regex import Regex
from control_plane.routing.rules.ruleset import Match

pieces = st.sampled_from(
    ["a", "b", "/", ".", "[^/]", "[ab]", r"\d", "%", "-", "=", ";", "(?:a|b)", "(a)", r"\.", "|", " "]
)  # fmt: skip
repeats = st.sampled_from(["", "", "*", "+", "?", "{1,2}"])
patterns = st.builds(
    lambda flag, start, parts, end: flag + start + "".join(parts) + end,
    st.sampled_from(["", "", "(?i)"]),
    st.sampled_from(["", "^", "^/", "^?", "^*"]),
    st.lists(st.builds(str.__add__, pieces, repeats), max_size=3),
    st.sampled_from(["", "$", "(?:/|$)", "$?"]),
)
names = st.sampled_from(["^a$", "^(?:a|b)$", "^host$", "a", "^(?:a|host)$"]) | patterns
documents = st.one_of(
    st.builds(
        lambda kind, value: {"type": kind, "regexValue": value},
        st.sampled_from(["path", "query_string", "host", "method"]),
        patterns | st.sampled_from([r"^a\.b$", "^A$", "^GET$"]),
    ),
    st.builds(
        lambda kind, name, value: {"type": kind, "name": name} | value,
        st.sampled_from(["header", "cookie"]),
        names,
        st.none().map(lambda _: {}) | patterns.map(lambda value: {"regexValue": value}),
    ),
)
texts = st.text("ab/%-1=;. A", max_size=6)
requests = st.builds(
    lambda method, authority, path, headers: Request.of(
        "/" + path, headers, method=method, authority=authority
    ),
    st.sampled_from(["GET", "POST", "a"]),
    st.sampled_from(["a.b", "A.B:80", "a.b.", "b", ""]),
    st.text("ab/%-1?.=", max_size=8),
    st.lists(st.tuples(st.sampled_from(["a", "b", "cookie"]), texts), max_size=3),
)


def match_of(document: dict[str, Any], *, invert: bool = False) -> Match | None:
    """The match; None where RE2 refuses a pattern."""
    try:
        (rule,) = parse(
            [{"id": "r", "action": "proxy", "match": document | {"invert": invert}}]
        ).rules
    except RulesetError:
        return None
    return rule.matches[0]


def holds(condition: Condition, request: Request) -> bool:
    """What Envoy says of a condition."""
    headers = join_headers(request) | {
        ":method": request.method.encode(),
        ":path": request.path,
        ":authority": request.authority,
    }
    regex = Regex(f"^(?:{condition.regex})$")
    present = [headers[name] for name in condition.headers if name in headers]
    return any(regex.matches(value) for value in present) is not condition.invert


inverted = st.builds(
    lambda document, invert: match_of(document, invert=invert), documents, st.booleans()
)
matches = inverted.filter(lambda match: match is not None)


def matched(match: Match, request: Request) -> bool:
    return match_failure(match, Subjects(request), {}) is None


@given(matches, requests)
@settings(max_examples=1500, deadline=None)
def test_an_exact_condition_holds_exactly_when_the_match_does(
    match: Match, request: Request
) -> None:
    condition = exact_condition(match)
    assert condition is None or holds(condition, request) is matched(match, request)


@given(matches, requests)
@settings(max_examples=1000, deadline=None)
def test_a_necessary_condition_holds_whenever_the_match_does(
    match: Match, request: Request
) -> None:
    condition = necessary_condition(match)
    if condition is not None and matched(match, request):
        assert holds(condition, request)


@pytest.mark.parametrize("pattern", ["^?a", "^*a", "(^+a)", "^{0,1}a"])
def test_a_repeated_anchor_makes_no_regex_that_envoy_refuses(pattern: str) -> None:
    """Envoy would refuse the whole route table for it."""
    query = match_of({"type": "query_string", "regexValue": pattern})
    cookie = match_of({"type": "cookie", "name": pattern, "regexValue": pattern})
    assert query is not None
    assert cookie is not None
    asked = necessary_condition(query)
    assert asked is not None
    Regex(asked.regex)
    assert exact_condition(cookie) is None
