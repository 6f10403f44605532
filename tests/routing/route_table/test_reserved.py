"""Guards: no rule reads a word of a route table as a name, and every other name is still read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.routing.route_table.reserved import reserve, takeovers
from control_plane.routing.route_table.table import Route
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.problems import RulesetError

USER = r"^/users/(?<username>[^/]+)(?:/|$)"
DEEP = r"^/v2/(?<username>[^/]+)(?:/[^/]+)*/proxy/"
API = r"^/api/[^/]+/(?:groups|users)/(?<username>[^/.]+)"


def ruleset(*patterns: str) -> dict[str, Any]:
    """Return a ruleset with a rule for each pattern, which looks a username up."""
    claims = {"claims": [{"username": "${username}"}]}
    rules: list[dict[str, Any]] = [
        {
            "id": f"r{number}",
            "match": {"type": "path", "regexValue": pattern},
            "action": "classify",
            "classify": claims,
        }
        for number, pattern in enumerate(patterns)
    ]
    return {"name": "r", "rules": [*rules, {"id": "last", "action": "proxy"}]}


def guards(document: dict[str, Any]) -> list[str]:
    matches = [rule.get("match") for rule in document["rules"]]
    return [m["regexValue"] for one in matches if isinstance(one, list) for m in one[1:]]


@pytest.mark.parametrize(
    ("pattern", "routes", "guard"),
    [
        (USER, [Route("/users/sign_in")], "^/users/sign_in(?:/|$)"),
        (
            USER,
            [Route("/users/sign_in", takes_format=True)],
            r"^/users/sign_in(?:/|(?:\.[^/.]+)?$)",
        ),
        (
            USER,
            [Route("/users/b/c"), Route("/users/a.b", takes_format=True)],
            r"^/users/(?:a\.b(?:/|(?:\.[^/.]+)?$)|b(?:/|$))",
        ),
        (API, [Route("/api/:version/users/me")], "^/api/[^/]+/users/me(?:/|$)"),
        (
            API,
            [Route("/api/:v/users/me/x"), Route("/api/:v/groups/new")],
            "^(?:/api/[^/]+/groups/new(?:/|$)|/api/[^/]+/users/me(?:/|$))",
        ),
        (DEEP, [Route("/v2/virtual/:id/*path")], "^/v2/virtual(?:/|$)"),
    ],
)
def test_the_guard_of_a_rule(pattern: str, routes: list[Route], guard: str) -> None:
    reserved = reserve(ruleset(pattern), routes)
    assert guards(reserved.document) == [guard]
    assert set(reserved.routes) == set(routes)
    assert not list(takeovers(parse(reserved.document), routes))


def test_what_is_no_literal_gets_no_guard() -> None:
    document = ruleset(USER, DEEP)
    routes = [Route("/users/:username/activity"), Route("/*id"), Route("/v2/*id/proxy/x")]
    assert reserve(document, routes).document == document
    assert reserve(document, routes).routes == ()


def test_a_guard_is_derived_anew_each_time() -> None:
    once = reserve(ruleset(USER), [Route("/users/a"), Route("/users/b")])
    assert reserve(once.document, once.routes) == once
    less = reserve(once.document, [Route("/users/a")])
    assert guards(less.document) == ["^/users/a(?:/|$)"]
    assert reserve(once.document, [Route("/x")]).document == ruleset(USER)


def test_what_is_no_ruleset_is_refused() -> None:
    with pytest.raises(RulesetError):
        reserve({"rules": [1]}, [Route("/a")])


words = st.text("ab-.", min_size=1, max_size=3).filter(lambda word: word not in {".", ".."})
segments = st.one_of(words, st.just(":name"), st.just("*rest"), st.just("(/:maybe)"))
templates = st.lists(segments, min_size=1, max_size=4).map(
    lambda parts: "".join(part if part.startswith("(") else f"/{part}" for part in parts)
)
PATTERNS = (
    "^/(?<username>[^/]+)(?:/|$)",
    "^/a/(?<username>[^/]+)(?:/|$)",
    r"^/[^/]+/b/(?<username>[a-z.-]+?)(?:\.json)?(?:/|$)",
    "^/a/(?<username>[^/]+)(?:/[^/]+)*/b/",
    "^/(?:a|b)/-/(?<username>[^/]+)",
)


@given(st.lists(st.builds(Route, templates, st.booleans()), max_size=8))
@settings(max_examples=80, deadline=None)
def test_no_word_of_any_table_is_read_as_a_name(routes: list[Route]) -> None:
    reserved = reserve(ruleset(*PATTERNS), routes)
    assert not list(takeovers(parse(reserved.document), routes))
    assert not list(takeovers(parse(reserve(ruleset(*PATTERNS), reserved.routes).document), routes))
