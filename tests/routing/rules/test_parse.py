"""What a ruleset's author is told: every problem, with rule, field and hint."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.problems import RulesetError
from control_plane.routing.rules.ruleset import Next, Subject, UseStatus

OK: dict[str, Any] = {"id": "a", "action": "proxy"}
PATH = {"type": "path", "regexValue": "^/(?<n>[^/]+)"}

BROKEN: list[tuple[Any, str]] = [
    ("{", "not JSON"),
    ('{"rules": [], "rules": []}', "stands twice"),
    ('"x"', "an object with rules"),
    ({"rules": []}, "no rules"),
    ({"rules": [OK], "rulez": 1}, "did you mean 'rules'"),
    ([OK | {"id": "a b"}], "malformed"),
    ([OK, OK], "used twice"),
    ([OK | {"action": "send"}], "no action"),
    ([OK | {"mach": PATH}], "did you mean 'match'"),
    ([OK | {"match": {"type": "body", "regexValue": "x"}}], "no kind of match"),
    ([OK | {"match": {"type": "path", "regexValue": "(?=x)"}}], "RE2 refuses"),
    ([OK | {"match": {"type": "path", "regexValue": "(a"}}], "missing )"),
    ([OK | {"match": {"type": "path"}}], "needs it"),
    ([OK | {"match": {"type": "header", "regexValue": "x"}}], "has a name"),
    ([OK | {"match": {"type": "path", "name": "x", "regexValue": "x"}}], "has no name"),
    ([OK | {"match": PATH | {"invert": "yes"}}], "true or false"),
    ([OK | {"match": {"type": "path", "regexValue": "x" * 5000}}], "longer than"),
    ([OK | {"match": [PATH] * 40}], "more than 32"),
    ([OK | {"transform": {"type": "zip", "input": "${n}", "output": "x"}}], "no transform"),
    ([OK | {"transform": {"type": "routable-json", "input": "${n", "output": "x"}}], "malformed"),
    ([OK | {"validate": {"exists": []}}], "list of names"),
    ([OK | {"on_unknown": "maybe"}], "no policy"),
    ([OK | {"on_unknown": 200}], "no policy"),
    ([OK | {"on_cell_down": {"weighted": {"a": 0}}}], "no policy"),
    ([OK | {"proxy": {"address": "http://x/y"}}], "not valid"),
    ([OK | {"proxy": {"address": "${host}"}}], "not valid"),
    ([OK | {"proxy": {"cell": "a", "address": "b"}}], "name one of"),
    ([OK | {"proxy": {"weighted": {"a": -1}}}], "no policy"),
    ([{"id": "a", "action": "classify"}], "missing"),
    ([{"id": "a", "action": "classify", "classify": {"type": "NEAREST"}}], "no way to classify"),
    ([{"id": "a", "action": "classify", "classify": {"claims": [{"Ro ute": "x"}]}}], "no bucket"),
    (
        [{"id": "a", "action": "classify", "classify": {"claims": [{"a": "x", "b": "y"}]}}],
        "one key",
    ),
    ({"rules": [OK], "defaults": {"on_unknwon": 404}}, "unknown field"),
]


@pytest.mark.parametrize(("document", "says"), BROKEN)
def test_what_can_not_be_read(document: Any, says: str) -> None:
    text = document if isinstance(document, str) else json.dumps(document)
    with pytest.raises(RulesetError) as caught:
        parse(text)
    assert any(says in f"{p.message} {p.hint}" for p in caught.value.problems), caught.value
    assert all(problem.hint for problem in caught.value.problems)


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(RulesetError) as caught:
        parse(json.dumps([{"id": "a"}, {"id": "b", "action": "proxy", "match": {"type": "x"}}]))
    assert {problem.rule for problem in caught.value.problems} == {"a", "b"}


def test_a_bad_weight_of_a_proxy_is_told_of_its_own_field() -> None:
    with pytest.raises(RulesetError) as caught:
        parse([OK | {"proxy": {"weighted": {"a": "many"}}}])
    assert [problem.field for problem in caught.value.problems] == ["proxy.weighted"]


def test_a_huge_document_is_refused() -> None:
    with pytest.raises(RulesetError, match="too large"):
        parse("[" + " " * (1 << 20) + "]")


def test_both_spellings_and_the_defaults() -> None:
    rules = parse(
        json.dumps(
            [
                {"id": "a", "match": {"type": "cookie", "regex_name": "^s$", "regex_value": "x"},
                 "action": "proxy", "on_cell_down": 502},
                {"id": "b", "match": {"type": "header", "name": "^(?:A|B)$"}, "action": "proxy"},
            ]
        )
    ).rules  # fmt: skip
    assert rules[0].matches[0].subject is Subject.COOKIE
    assert rules[0].policies.on_cell_down == UseStatus(502)
    assert rules[1].policies.on_unknown == Next()
    assert rules[1].matches[0].literal_names == ("a", "b")


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["id", "rules", "match", "type", "name", "regexValue", "action", "proxy",
                         "classify", "claims", "transform", "validate", "exist", "on_unknown", "x"]),
        inner, max_size=5),
    max_leaves=20,
))  # fmt: skip
def test_no_document_makes_it_raise_anything_else(document: Any) -> None:
    try:
        parse(json.dumps(document))
    except RulesetError as error:
        assert error.problems


WHOLE = {
    "name": "whole",
    "rules": [
        {
            "id": "keyed",
            "match": [
                {
                    "type": "cookie",
                    "name": "^s$",
                    "regexValue": "^(?<p>[a-z0-9-]+)-",
                    "invert": False,
                },
                {"type": "path", "regexValue": "^/(?<t>[^/]+)"},
            ],
            "transform": [{"type": "decode_base64_match", "input": "${t}", "output": "u"}],
            "validate": {"exist": ["p"]},
            "action": "classify",
            "classify": {"type": "SESSION_PREFIX", "value": "${p}"},
            "on_unknown": {"weighted": {"a": 1}},
            "on_cell_down": {"cell": "a"},
            "on_classifier_down": "next",
        },
        {
            "id": "claims",
            "action": "classify",
            "classify": {"claims": [{"route": "${t}"}, {"user": "x"}]},
        },
        {
            "id": "share",
            "action": "proxy",
            "proxy": {"weighted": {"a": 1, "b": 2}},
            "on_cell_down": 503,
        },
        {"id": "last", "action": "proxy", "proxy": {"address": "a.example"}},
    ],
}
ODD: list[Any] = [
    None,
    True,
    -1,
    1.5,
    10**30,
    "",
    "\x00",
    "${",
    [],
    [[]],
    [None],
    {},
    {"a": {}},
    {"type": []},
]


def places(document: Any) -> Iterator[list[Any]]:
    """Yield the way to each value of a document, as keys and indices."""
    items = enumerate(document) if isinstance(document, list) else ()
    for key, value in document.items() if isinstance(document, dict) else items:
        yield [key]
        yield from ([key, *more] for more in places(value))


@pytest.mark.parametrize("place", list(places(WHOLE)), ids=str)
def test_an_odd_value_anywhere_is_a_problem_and_no_other_error(place: list[Any]) -> None:
    for odd in ODD:
        document = copy.deepcopy(WHOLE)
        inner: Any = document
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = odd
        with contextlib.suppress(RulesetError):
            parse(json.dumps(document))
