"""Which rules Envoy answers by itself, and what it tests for the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.compiler.native.analyse import (
    AskClassifier,
    NativeRule,
    analyse,
    needs_second_try,
)
from control_plane.compiler.native.conditions import exact_condition
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.regex import Regex
from control_plane.routing.rules.ruleset import Rule, Subject

RULESETS = Path(__file__).parents[3] / "rulesets"
GITLAB = parse((RULESETS / "gitlab.json").read_text())
COOKIE = {"type": "cookie", "name": "^s$", "regexValue": "^(?<p>cell-[0-9]+)-"}
KEYED = {"action": "classify", "classify": {"type": "SESSION_PREFIX", "value": "${p}"}}
CLAIM = {"action": "classify", "classify": {"claims": [{"route": "${p}"}]}}


def rule(**fields: Any) -> Rule:
    return parse([{"id": "r", "action": "proxy"} | fields]).rules[0]


def test_the_tier_of_gitlabs_rules() -> None:
    tiers = {rule.id: isinstance(analyse(rule), NativeRule) for rule in GITLAB.rules}
    assert [rule for rule, native in tiers.items() if native] == [
        "force_cell", "session", "anywhere",
    ]  # fmt: skip


def test_envoy_tests_all_that_a_rule_of_gitlab_says_about_paths() -> None:
    """A rule of which Envoy leaves the reserved words out would take the requests of all others."""
    for rule in GITLAB.rules:
        of_paths = [match for match in rule.matches if match.subject is Subject.PATH]
        assert all(exact_condition(match) for match in of_paths), rule.id


@pytest.mark.parametrize(
    "match",
    [
        {"type": "cookie", "name": "session", "regexValue": "^(?<p>cell-1)$"},
        {"type": "cookie", "name": "^session$", "regexValue": "^(?<p>.*)$"},
        {"type": "cookie", "name": "^session$", "regexValue": "^(?<p>[^-]*)$"},
        {"type": "header", "name": "x-.*", "regexValue": "^(?<p>.*)$"},
        {"type": "path", "regexValue": "^/(?<p>[^/]*)"},
        {"type": "host", "regexValue": "^(?<p>[a-z]*)"},
    ],
)
def test_what_can_not_be_exact_is_left_to_the_classifier(match: dict[str, str]) -> None:
    rule = parse(
        json.dumps(
            [{"id": "r", "match": match, "action": "classify",
              "classify": {"type": "SESSION_PREFIX", "value": "${p}"}}]
        )
    ).rules[0]  # fmt: skip
    assert isinstance(analyse(rule), AskClassifier)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"proxy": {"cell": "cell-1"}},
        {"match": COOKIE},
        {"action": "classify", "classify": {"type": "FIRST_CELL"}},
        {"match": COOKIE, "action": "classify", "classify": {"type": "CELL_ID", "value": "7"}},
    ],
)
def test_an_answer_without_a_key_is_native_and_keeps_all_conditions(fields: dict[str, Any]) -> None:
    native = analyse(rule(**fields))
    assert isinstance(native, NativeRule)
    assert native.lookup is None
    assert len(native.conditions) == ("match" in fields)


def test_the_match_that_gives_the_key_is_no_condition() -> None:
    path = {"type": "path", "regexValue": "^/a"}
    native = analyse(rule(match=[path, COOKIE], **KEYED))
    assert isinstance(native, NativeRule)
    assert native.lookup is not None
    assert [condition.headers for condition in native.conditions] == [(":path",)]


@pytest.mark.parametrize(
    "fields",
    [
        {"match": COOKIE} | CLAIM,
        {"match": COOKIE, "validate": {"exist": ["p"]}} | KEYED,
        {
            "match": COOKIE,
            "transform": {"type": "routable-json", "input": "${p}", "output": "d"},
            "action": "classify",
            "classify": {"type": "CELL_ID", "value": "${d.c}"},
        },
        {
            "match": {"type": "header", "name": "^a$", "regexValue": "^(?<p>[a-z])(?<q>[a-z])$"},
            "action": "classify",
            "classify": {"type": "SESSION_PREFIX", "value": "${p}${q}"},
        },
    ],
)
def test_claims_decoded_keys_and_keys_of_two_parts_need_the_classifier(
    fields: dict[str, Any],
) -> None:
    asking = analyse(rule(**fields))
    assert isinstance(asking, AskClassifier)
    assert asking.conditions


@pytest.mark.parametrize(
    ("fields", "second"),
    [
        ({"match": COOKIE} | CLAIM, False),
        ({"match": COOKIE, "on_classifier_down": "next"} | CLAIM, True),
        ({"match": COOKIE, "on_classifier_down": "next"} | KEYED, True),
        ({"match": COOKIE, "on_classifier_down": "next"}, False),
    ],
)
def test_a_second_try_is_for_rules_that_may_need_the_classifier(
    fields: dict[str, Any], second: bool
) -> None:
    assert needs_second_try([analyse(rule(**fields))]) is second


atoms = st.sampled_from(["a", "b", "/", ".", "[^/]", "[ab]", r"\d", "%", "-"])
pieces = st.builds(lambda atom, many: atom + many, atoms, st.sampled_from(["", "*", "+", "?"]))
patterns = st.builds(
    lambda start, parts, end: start + "".join(parts) + end,
    st.sampled_from(["", "^", "^/"]),
    st.lists(pieces, max_size=4),
    st.sampled_from(["", "$", "(?:/|$)"]),
)


@given(patterns, st.none() | st.text("ab/%-1?", max_size=8))
@settings(max_examples=500, deadline=None)
def test_a_query_rule_asks_whenever_it_may_match(pattern: str, query: str | None) -> None:
    """A path without "?" has an empty query."""
    match = {"type": "query_string", "regexValue": pattern}
    claims = {"claims": [{"route": "a"}]}
    document = [{"id": "r", "match": match, "action": "classify", "classify": claims}]
    asking = analyse(parse(json.dumps(document)).rules[0])
    path = "/x" if query is None else f"/x?{query}"
    if Regex(pattern).matches((query or "").encode()):
        assert all(Regex(f"^(?:{one.regex})$").matches(path.encode()) for one in asking.conditions)
