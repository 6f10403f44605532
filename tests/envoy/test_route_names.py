"""The edge's script knows of the rules what the names of routes say, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from control_plane.compiler.route_names import RouteNames, name_routes
from control_plane.routing.rules.parse import parse
from tests.envoy.lua_edge import Answer, Edge, answering


def names_of(*rules: dict[str, Any]) -> RouteNames:
    return name_routes(parse(json.dumps(list(rules))), second_try=False)


def tenant_rule(**match: str) -> dict[str, Any]:
    """Always under the same id."""
    claims = {"claims": [{"tenant": "${t}"}]}
    return {"id": "tenant", "match": match, "action": "classify", "classify": claims}


BY_PATH = tenant_rule(type="path", regexValue="^/t/(?<t>[^/]+)(?:/|$)")
BY_HEADER = tenant_rule(type="header", name="^x-org$", regexValue="^(?<t>.+)$")
BY_ANY_HEADER = tenant_rule(type="header", name="^x-.*$", regexValue="^(?<t>.+)$")


def test_a_rule_of_the_same_id_with_other_inputs_meets_no_answer_of_the_one_before() -> None:
    edge = Edge(classifier=lambda q: Answer(f"cell-{q.get('x-org', 'none')}", 5))
    old, new = names_of(BY_PATH), names_of(BY_HEADER)
    given = {"x-org": "1"}
    first = edge.get("/t/a/", old.by_rule["tenant"], **given)[0]
    second = edge.get("/t/a/", new.by_rule["tenant"], **given)[0]
    assert (first["x-cellway-cell"], second["x-cellway-cell"]) == ("cell-none", "cell-1")
    assert (
        edge.get("/t/b/", new.by_rule["tenant"], **{"x-org": "2"})[0]["x-cellway-cell"] == "cell-2"
    )
    known = [asked["x-cellway-known"].split(" ")[1] for asked in edge.asked]
    assert known[0] != known[1] == known[2]
    # And back: what was kept is there still, if the epochs allow it.
    edge.get("/t/a/", old.by_rule["tenant"], **given)
    assert len(edge.asked) == 3


def test_where_headers_can_not_be_named_all_are_sent_and_nothing_is_kept() -> None:
    edge = Edge(classifier=answering(Answer("cell-1", 5)))
    name = names_of(BY_ANY_HEADER).by_rule["tenant"]
    given = {"x-a": "1", "accept": "b", "content-length": "3", "x-request-id": "4"}
    given |= {"x-cellway-cell": "cell-9", "x-envoy-upstream-rq-timeout-ms": "1"}
    assert edge.get("/t/a/", name, **given)[1]
    edge.get("/t/a/", name, **given)
    assert [
        {k: v for k, v in asked.items() if not k.startswith((":", "x-cellway-known"))}
        for asked in edge.asked
    ] == [{"x-a": "1", "accept": "b"}] * 2


def test_without_room_nothing_is_kept() -> None:
    edge = Edge(entries=0, classifier=answering(Answer("cell-1", 5)))
    assert edge.cell("/t/a/") == edge.cell("/t/a/") == "cell-1"
    assert len(edge.asked) == 2
    edge.classifier = answering(None)
    assert edge.get("/t/a/") == ({"x-envoy-auth-failure-mode-allowed": "true"}, True)


@pytest.mark.parametrize("name", ["", "ask:tenant", "ask:tenant v=2", "again", "something else"])
def test_a_name_that_says_something_else_leaves_the_route_as_it_is(name: str) -> None:
    edge = Edge(classifier=answering(Answer("cell-1", 5)))
    assert edge.get("/t/a/", name, **{"x-cellway-misdirected": "GET 0 cell-1"}) == ({}, False)
    assert edge.asked == []


def test_names_without_end_are_forgotten_and_take_no_others_answers() -> None:
    edge = Edge(classifier=lambda q: Answer(f"cell-{q['x-cellway-known'].split(' ')[1]}", 5))
    fields = "next=0 path=3 own= rest= rules=tenant ask="
    for number in range(5000):
        added, _ = edge.get("/t/a/", f"ask:tenant ruleset={number:x} {fields}")
        assert added["x-cellway-cell"] == f"cell-{number:x}"
    assert edge.lua.eval("collectgarbage('count')") < 8_000


def test_a_421_after_a_change_of_rules_is_decided_by_the_new_ones() -> None:
    edge = Edge(classifier=lambda q: Answer(f"cell-{q.get('x-org', 'none')}", 5))
    old, new = names_of(BY_PATH), names_of(BY_HEADER)
    edge.get("/t/a/", old.by_rule["tenant"], **{"x-org": "1"})
    given = {"x-cellway-misdirected": "GET 0 cell-none", "x-org": "1", ":authority": "m"}
    added, cleared = edge.get("/t/a/", new.again, **given)
    assert (added["x-cellway-cell"], cleared) == ("cell-1", True)
    assert edge.asked[-1]["x-cellway-known"].split(" ")[1] in new.again
