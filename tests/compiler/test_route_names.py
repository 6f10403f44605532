"""What a route asks about stands in its name, and the listener knows nothing of it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.compiler.edge import EdgeCompiler, compile_edge
from control_plane.compiler.model import ClassifierAddress, TrafficPolicy
from control_plane.compiler.route_names import MAX_LISTED, RouteNames, name_routes
from control_plane.names import LDS
from control_plane.routing.rules.parse import parse
from tests.compiler.cells import cell

RULESETS = Path(__file__).parents[2] / "rulesets"
CLASSIFIER = (ClassifierAddress("127.0.0.1", 18001),)
POLICIES = [
    TrafficPolicy(classifiers=CLASSIFIER, **given)
    for given in (
        {},
        {"edge_cache_entries": 0},
        {"classifier_protocol": "grpc"},
        {"debug_networks": ("127.0.0.0/8",)},
    )
]
CELLS = (cell(1), cell(2))


def named(rules: Sequence[dict[str, Any]], **more: Any) -> RouteNames:
    return name_routes(parse(json.dumps({"rules": rules, **more})), second_try=False)


def ask(match: dict[str, str] | list[dict[str, str]], rule: str = "who") -> dict[str, Any]:
    claims = {"claims": [{"tenant": "${k}"}]}
    return {"id": rule, "match": match, "action": "classify", "classify": claims}


def header(name: str) -> dict[str, str]:
    return {"type": "header", "name": f"^{name}$", "regexValue": "^(?<k>.+)$"}


PATH = {"type": "path", "regexValue": "^/t/(?<k>[^/]+)(?:/|$)"}
DEEP = {"type": "path", "regexValue": "^/t/[^/]+/(?<k>[^/]+)(?:/|$)"}
COOKIE = {"type": "cookie", "name": "^s$", "regexValue": "^(?<k>.+)$"}
QUERY = {"type": "query_string", "regexValue": "q=(?<k>[^&]+)"}
UNNAMED = {"type": "header", "name": "^x-.*$", "regexValue": "^(?<k>.+)$"}
MATCHES = [PATH, DEEP, COOKIE, QUERY, UNNAMED, header("x-org"), header("host"), [PATH, COOKIE]]

matches = st.sampled_from(MATCHES)
policies = st.sampled_from([{}, {"on_classifier_down": "next"}, {"on_unknown": 410}])
native = {"action": "proxy", "proxy": {"cell": "cell-1"}}
rules = st.one_of(
    st.builds(lambda match, policy: ask(match) | policy, matches, policies),
    st.builds(lambda match: {"match": match} | native, matches),
)
rulesets = st.lists(rules, min_size=1, max_size=6).map(
    lambda many: [one | {"id": f"r-{at}"} for at, one in enumerate(many)]
)


def listener(rules: Any, policy: TrafficPolicy) -> bytes:
    made = compile_edge(CELLS, parse(rules), policy, 1)
    (found,) = (one.body for one in made if one.type_url == LDS)
    return found


@pytest.mark.parametrize("policy", POLICIES)
def test_every_shipped_ruleset_has_the_same_listener(policy: TrafficPolicy) -> None:
    found = {listener(path.read_text(), policy) for path in RULESETS.glob("*.json")}
    assert len(found) == 1


@given(st.sampled_from(POLICIES), st.lists(rulesets, min_size=2, max_size=4))
@settings(max_examples=40, deadline=None)
def test_no_change_of_rules_changes_the_listener(
    policy: TrafficPolicy, history: list[list[dict[str, Any]]]
) -> None:
    compiler = EdgeCompiler(policy)
    compiler.update(CELLS, parse(json.dumps(history[0])), 1)
    for revision, rules in enumerate(history[1:], 2):
        update = compiler.update(CELLS, parse(json.dumps(rules)), revision)
        assert LDS not in {one.type_url for one in update.put}
        assert update.dropped == ()
    assert listener(json.dumps(history[-1]), policy) == listener(json.dumps(history[0]), policy)


@given(rulesets, rulesets)
@settings(max_examples=200, deadline=None)
def test_two_rulesets_share_a_name_only_if_they_are_the_same(
    one: list[dict[str, Any]], other: list[dict[str, Any]]
) -> None:
    names = [{*named(rules).by_rule.values(), named(rules).again} for rules in (one, other)]
    assert (names[0] == names[1]) is (one == other)
    assert one == other or not names[0] & names[1]


def test_a_name_says_what_an_answer_depends_on() -> None:
    names = named([ask([PATH, header("x-b")], "a"), ask(PATH, "b"), ask([COOKIE, QUERY], "c")])
    fields = dict(part.split("=", 1) for part in names.by_rule["a"].split(" ")[1:])
    digest = fields.pop("ruleset")
    assert len(digest) == 16
    assert fields == {
        "next": "0",
        "path": "3",
        "own": "x-b",
        "rest": "cookie,?",
        "rules": "a,b",
        "ask": "cookie,x-b",
    }
    assert names.again == f"again ruleset={digest} next=0 ask=cookie,x-b"
    whole = {"type": "path", "regexValue": "(?<k>x)"}
    assert " path=/ " in named([ask(whole)]).by_rule["who"]


def test_what_can_not_be_named_is_asked_in_whole() -> None:
    before, itself, after = named(
        [ask(PATH, "before"), ask(UNNAMED, "itself"), ask(PATH, "after")]
    ).by_rule.values()
    assert " own= rest=/ rules=before ask=/" in before
    assert " own=/ rest=/ rules= ask=/" in itself
    assert " own= rest= rules=after ask=/" in after


def test_no_name_is_huge() -> None:
    """A table of a thousand rules with a thousand headers has a million of them otherwise."""
    many = [ask(header(f"x-{number}"), f"rule-{number}") for number in range(200)]
    assert all(len(name) < 1000 for name in named(many).by_rule.values())
    alike = [ask(PATH, f"rule-{number}") for number in range(200)]
    for name in named(alike).by_rule.values():
        (listed,) = (part for part in name.split(" ") if part.startswith("rules="))
        assert len(listed.split(",")) <= MAX_LISTED


def test_layout_and_name_of_a_ruleset_do_not_count() -> None:
    rules = [ask(PATH)]
    given = [
        json.dumps({"rules": rules}),
        json.dumps({"rules": rules, "name": "n", "description": "d"}, indent=3),
        json.dumps(rules),
    ]
    for one, other in itertools.combinations(given, 2):
        assert parse(one).digest == parse(other).digest
    other_defaults = {"rules": rules, "defaults": {"on_unknown": 410}}
    assert parse(json.dumps(other_defaults)).digest != parse(given[0]).digest
