"""The route table, read as Envoy reads it, sends requests where the evaluator does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.compiler.model import TrafficPolicy
from control_plane.names import (
    AGAIN_FILTER,
    AUTHZ_FAILED_HEADER,
    CACHE_FILTER,
    CELL_HEADER,
    EMPTY_421_FILTER,
    MISDIRECTED,
    MISDIRECTED_FILTER,
)
from control_plane.routing.evaluate import Evaluation, decide
from control_plane.routing.model import Cells, Decision, Request, Status, ToCell
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.ruleset import Ruleset
from tests.compiler import route_table
from tests.compiler.route_table import RouteTable, outcome
from tests.support.cells import FakeCell

COOKIE = {"type": "cookie", "name": "^s$", "regexValue": "^(?<p>cell-[0-9]+)-"}
HEADER = {"type": "header", "name": "^x-id$", "regexValue": "^(?<p>[0-9]+)$"}
PATHS = [{"type": "path", "regexValue": f"^/{name}(?:/|$)"} for name in "ab"]
POST = {"type": "method", "regexValue": "^POST$"}
CLAIM = {"action": "classify", "classify": {"claims": [{"tenant": "${t}"}]}}
TENANT = {"match": {"type": "path", "regexValue": "^/t/(?<t>[^/]+)"}} | CLAIM


def classify(kind: str, value: str = "") -> dict[str, Any]:
    return {"action": "classify", "classify": {"type": kind, "value": value or "${p}"}}


policies = st.sampled_from(
    [
        *("next", 404, 429, 503, "weighted", {"weighted": {"cell-1": 3, "cell-2": 1}}),
        *({"cell": f"cell-{number}"} for number in (1, 2, 9)),
    ]
)
stated = st.fixed_dictionaries({}, optional=dict.fromkeys(("on_unknown", "on_cell_down"), policies))
matches = st.lists(st.sampled_from([*PATHS, POST, POST | {"invert": True}]), max_size=2)
fixed = st.sampled_from(
    [
        {"action": "proxy"},
        {"action": "proxy", "proxy": {"cell": "cell-2"}},
        {"action": "proxy", "proxy": {"address": "CELL-3.example.com"}},
        {"action": "proxy", "proxy": {"weighted": {"cell-2": 5, "cell-3": 5}}},
        {"action": "proxy", "proxy": {"cell": "cell-9"}},
        {"action": "classify", "classify": {"type": "FIRST_CELL"}},
        classify("CELL_ID", "3"),
        classify("SESSION_PREFIX", "cell-1"),
    ]
)
natives = st.one_of(
    st.builds(lambda match, action, policy: {"match": match} | action | policy, matches, fixed, stated),
    st.builds(
        lambda match, policy: {"match": [*match, COOKIE]} | classify("SESSION_PREFIX") | policy,
        matches,
        stated,
    ),
    st.builds(
        lambda match, policy: {"match": [HEADER, *match]} | classify("CELL_ID") | policy,
        matches,
        stated,
    ),
)  # fmt: skip
fleets = st.lists(
    st.builds(
        lambda state, weight: (*state, weight),
        st.sampled_from([(True, True), (True, False), (False, False)]),
        st.sampled_from([1, 100]),
    ),
    max_size=4,
).map(
    lambda states: Cells(
        FakeCell(number, serving=serving, accepts_new=accepts, weight=weight)
        for number, (serving, accepts, weight) in enumerate(states, 1)
    )
)
requests = st.builds(
    lambda method, path, cookie, number: Request.of(
        path, {"cookie": cookie} | ({"x-id": number} if number else {}), method=method
    ),
    st.sampled_from(["GET", "POST"]),
    st.sampled_from(["/", "/a", "/b/c?d", "/ab", "/t/x"]),
    st.sampled_from(["s=cell-1-x", "s=cell-2-", " s = cell-3-; a=b", "s=cell-9-", "s=cell-11-", "t=1"]),
    st.sampled_from(["", "1", "2", "03", "9", "x"]),
)  # fmt: skip
sessions = st.lists(
    st.sampled_from([f"s=cell-{number}-x" for number in (1, 2, 9)]), min_size=2, max_size=2
)
twice = st.builds(lambda parts: Request.of("/a", {"cookie": "; ".join(parts)}), sessions)
keyed = st.builds(lambda policy: {"match": COOKIE} | classify("SESSION_PREFIX") | policy, stated)


def ruleset(*rules: dict[str, Any]) -> Ruleset:
    return parse([{"id": f"r{at}"} | rule for at, rule in enumerate(rules)])


@given(
    st.lists(natives | keyed, min_size=1, max_size=4),
    fleets,
    st.lists(requests | twice, min_size=1, max_size=4),
)
@settings(max_examples=300, deadline=None)
def test_native_rules_decide_as_the_evaluator_does(
    rules: list[dict[str, Any]], cells: Cells, asked: list[Request]
) -> None:
    parsed = ruleset(*rules)
    table = RouteTable(parsed, cells)
    for request in asked:
        route = table.route(request)
        decision = decide(parsed, request, cells, lambda keys: [None] * len(keys))
        if route.name.startswith("ask:"):
            assert sum(part.count(b"s=") for _, part in request.headers) > 1, "a key stands once"
            continue
        assert outcome(route) == decision.outcome
        assert route_table.rule(route) == decision.rule
        if isinstance(decision.outcome, ToCell):
            assert route_table.cell(route) == decision.outcome.cell


@given(
    st.lists(natives, max_size=2),
    st.lists(natives, max_size=2),
    policies,
    fleets,
    st.lists(requests, min_size=1, max_size=4),
)
@settings(max_examples=150, deadline=None)
def test_a_request_that_reaches_a_claim_is_asked_for_and_no_other(
    before: list[dict[str, Any]],
    after: list[dict[str, Any]],
    down: Any,
    cells: Cells,
    asked: list[Request],
) -> None:
    parsed = ruleset(*before, TENANT | {"on_classifier_down": down}, *after)
    claiming = parsed.rules[len(before)].id
    table = RouteTable(parsed, cells)
    for request in asked:
        evaluation = Evaluation(parsed, request, cells)
        decision = evaluation.resume()
        route = table.route(request)
        assert route.name.startswith(f"ask:{claiming} ") is isinstance(decision, tuple)
        if isinstance(decision, Decision):
            assert outcome(route) == decision.outcome


@pytest.mark.parametrize("unknown", ["next", 404, 429, {"cell": "cell-1"}])
@pytest.mark.parametrize("down", ["next", 503, {"cell": "cell-1"}])
@pytest.mark.parametrize("cookie", ["s=cell-3-x", "s=cell-9-x", "s=cell-1-x"])
def test_a_key_of_a_cell_that_is_down_is_not_an_unknown_key(
    unknown: Any, down: Any, cookie: str
) -> None:
    keyed = {"match": COOKIE, "on_unknown": unknown, "on_cell_down": down}
    last = {"action": "proxy", "proxy": {"cell": "cell-2"}}
    parsed = ruleset(keyed | classify("SESSION_PREFIX"), last)
    request = Request.of("/", {"cookie": cookie})
    route = RouteTable(parsed, CELLS).route(request)
    decision = decide(parsed, request, CELLS, lambda keys: [None] * len(keys))
    assert (outcome(route), route_table.rule(route)) == (decision.outcome, decision.rule)


CELLS = Cells([FakeCell(1), FakeCell(2), FakeCell(3, serving=False, accepts_new=False)])
AT_TENANT = Request.of("/t/acme")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("cell-2", ToCell("cell-2", 2)),
        ("!404", Status(404)),
        ("!451", Status(451)),
        ("!503", Status(503, 5)),
        ("cell-77", Status(503, 5)),
        ("!418", Status(503, 5)),
        ("", Status(503, 5)),
    ],
)
def test_what_the_classifier_said_is_done_and_what_is_unknown_refused(
    said: str, expected: object
) -> None:
    table = RouteTable(ruleset(TENANT | {"on_unknown": 451}, {"action": "proxy"}), CELLS)
    route = table.route(AT_TENANT, **{CELL_HEADER: said})
    assert outcome(route) == expected
    assert route_table.added(route) == {}


def test_reading_and_writing_turn_other_filters_on() -> None:
    table = RouteTable(ruleset(TENANT), CELLS)
    get = table.route(AT_TENANT)
    post = table.route(Request.of("/t/acme", method="POST"))
    upgrade = table.route(Request.of("/t/acme", {"upgrade": "websocket"}))
    assert get.name == post.name == upgrade.name
    assert CACHE_FILTER in get.typed_per_filter_config
    assert MISDIRECTED_FILTER not in get.typed_per_filter_config
    assert {MISDIRECTED_FILTER, EMPTY_421_FILTER, AGAIN_FILTER} <= set(post.typed_per_filter_config)
    assert set(post.typed_per_filter_config) == set(upgrade.typed_per_filter_config)


@pytest.mark.parametrize(
    ("down", "expected"),
    [
        ("next", ToCell("cell-1", 1)),
        (503, Status(503, 5)),
        ({"cell": "cell-2"}, ToCell("cell-2", 2)),
        ({"cell": "cell-3"}, Status(503, 5)),
    ],
)
def test_a_dead_classifier_gets_what_the_rule_says(down: Any, expected: object) -> None:
    last = {"action": "proxy", "proxy": {"cell": "cell-1"}}
    table = RouteTable(ruleset(TENANT | {"on_classifier_down": down}, last), CELLS)
    asking = table.route(AT_TENANT)
    assert asking.name.startswith("ask:r0 ")
    if down == "next":
        assert outcome(asking) == Status(503, 5)
        asking = table.route(AT_TENANT, **{AUTHZ_FAILED_HEADER: "true"})
        assert asking.name == ""
    assert outcome(asking) == expected


def test_what_a_cell_sent_back_is_asked_for_again_where_answers_are_kept() -> None:
    rules = ruleset(TENANT)
    again = RouteTable(rules, CELLS).route(AT_TENANT, **{CELL_HEADER: MISDIRECTED})
    assert again.name.startswith("again ")
    assert outcome(again) == Status(503, 5)
    without = RouteTable(rules, CELLS, TrafficPolicy(edge_cache_entries=0))
    assert without.route(AT_TENANT, **{CELL_HEADER: MISDIRECTED}).name == ""


def test_a_key_that_stands_twice_is_for_the_classifier() -> None:
    keyed = {"match": COOKIE} | classify("SESSION_PREFIX")
    table = RouteTable(ruleset(keyed, {"action": "proxy"}), CELLS)
    twice = Request.of("/", {"cookie": "s=cell-1-x; s=cell-2-y"})
    once = Request.of("/", {"cookie": "s=cell-1-x; t=cell-2-y"})
    assert table.route(twice).name.startswith("ask:r0 ")
    assert outcome(table.route(once)) == ToCell("cell-1", 1)
