"""The parts that fields of rules are made of, and the fields that are made of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.routing.rules.actions import read_action
from control_plane.routing.rules.fields import MAX_PARTS, read_objects, read_template
from control_plane.routing.rules.matches import read_matches
from control_plane.routing.rules.problems import Problem, Problems, RulesetError
from control_plane.routing.rules.ruleset import Classify, ClassifyType, Proxy
from control_plane.routing.rules.transforms import read_required, read_transforms


def problems_of(problems: Problems) -> tuple[Problem, ...]:
    try:
        problems.raise_if_any()
    except RulesetError as error:
        return error.problems
    return ()


@given(st.lists(st.sampled_from(["a", "-", "${b}", "${c.d}", "$", "{", "}"]), min_size=1))
def test_a_templates_parts_are_its_text(pieces: list[str]) -> None:
    source = "".join(pieces)
    problems = Problems()
    template = read_template(source, "f", problems)
    if template is None:
        assert "${" in source
        assert problems_of(problems)
        return
    text = "".join(f"${{{text}}}" if named else text for named, text in template.parts)
    assert text == source
    assert template.render(dict.fromkeys(template.references, "x")) is not None


@pytest.mark.parametrize("raw", ["", None, True, 1.5, [], "${", "${1}", "${a.b.c}"])
def test_what_is_no_template(raw: Any) -> None:
    problems = Problems()
    assert read_template(raw, "f", problems) is None
    assert [problem.field for problem in problems_of(problems)] == ["f"]


def test_one_object_stands_for_a_list_of_one_in_either_spelling() -> None:
    problems = Problems()
    assert read_objects({"regex_value": "x"}, "f", problems) == [{"regexValue": "x"}]
    assert read_objects(None, "f", problems) == []
    assert problems_of(problems) == ()
    assert read_objects([{}] * (MAX_PARTS + 1), "f", problems) == []
    assert read_objects(["x", {"a": 1}], "f", problems) == [{"a": 1}]
    assert len(problems_of(problems)) == 2


@pytest.mark.parametrize(
    ("name", "literals"),
    [
        ("^A-b$", ("a-b",)),
        ("^(?:A|b)$", ("a", "b")),
        ("(?i)^a$", ()),
        ("^(?i)a$", ("a",)),
        ("a", ()),
        ("^a.b$", ()),
        ("^a|b$", ()),
    ],
)
def test_a_regex_that_lists_names_is_known_by_them(name: str, literals: tuple[str, ...]) -> None:
    (match,) = read_matches({"type": "header", "name": name}, Problems())
    assert match.literal_names == literals


def test_names_of_headers_and_hosts_ignore_case_and_cookies_do_not() -> None:
    matches = read_matches(
        [
            {"type": "header", "name": "^a$", "regexValue": "^b$"},
            {"type": "host", "regexValue": "^a$"},
            {"type": "cookie", "name": "^a$"},
        ],
        Problems(),
    )
    header, host, cookie = matches
    assert header.name is not None
    assert header.value is not None
    assert host.value is not None
    assert cookie.name is not None
    folds = [header.name, header.value, host.value, cookie.name]
    assert [not regex.case_sensitive for regex in folds] == [True, False, True, False]


def test_a_bad_match_is_told_and_the_others_are_read() -> None:
    problems = Problems()
    good = {"type": "path", "regexValue": "^/"}
    bad = [{"type": "path"}, {"type": "cookie", "regexValue": "x"}, good | {"invert": 1}]
    assert len(read_matches([*bad, good], problems)) == 1
    fields = [problem.field for problem in problems_of(problems)]
    assert fields == ["match.regexValue", "match.name", "match.invert"]


@pytest.mark.parametrize("kind", ["base64-json", "routable-json"])
def test_a_transforms_input_may_be_written_in_parts(kind: str) -> None:
    raw = {"type": kind, "input": ["${a}", ".", "${b}"], "output": "d"}
    (transform,) = read_transforms(raw, Problems())
    assert transform.input.source == "${a}.${b}"


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ({"type": "zip", "input": "x", "output": "d"}, "transform.type"),
        ({"type": "base64-json", "input": "", "output": "d"}, "transform.input"),
        ({"type": "base64-json", "input": "x", "output": "a b"}, "transform.output"),
        ({"type": "decode-base64-match", "input": "x", "output": "d"}, "transform.regexValue"),
    ],
)
def test_a_transform_that_can_not_work(raw: Any, field: str) -> None:
    problems = Problems()
    assert read_transforms(raw, problems) == ()
    assert [problem.field for problem in problems_of(problems)] == [field]


def test_required_names_are_read_with_and_without_braces() -> None:
    problems = Problems()
    assert read_required({"exist": ["${a.b}", "c"]}, problems) == ("a.b", "c")
    assert read_required({"exist": "a"}, problems) == ("a",)
    assert read_required(None, problems) == ()
    assert problems_of(problems) == ()
    assert read_required({"exist": [1]}, problems) == ()
    assert problems_of(problems)


def classify(**fields: Any) -> dict[str, Any]:
    return {"action": "classify", "classify": fields}


@pytest.mark.parametrize(
    "raw",
    [
        classify(claims=[{"redirectRoute": "${n}"}]),
        classify(claim={"redirect_route": "${n}"}),
        classify(type="CLAIM", bucket="redirect_route", value="${n}"),
    ],
)
def test_a_claim_can_be_written_in_several_ways(raw: dict[str, Any]) -> None:
    problems = Problems()
    action = read_action(raw, problems)
    assert isinstance(action, Classify)
    assert problems_of(problems) == ()
    assert action.type is ClassifyType.CLAIM
    assert [(bucket, value.source) for bucket, value in action.claims] == [
        ("redirect_route", "${n}")
    ]


@pytest.mark.parametrize(
    ("raw", "proxy"),
    [
        (None, Proxy()),
        ({}, Proxy()),
        ({"weighted": True}, Proxy()),
        ({"weighted": {"a": 1}}, Proxy(weights=(("a", 1),))),
        ({"cell": "a"}, Proxy(cell="a")),
        ({"address": "a.test:80"}, Proxy(address="a.test:80")),
    ],
)
def test_every_way_to_proxy(raw: Any, proxy: Proxy) -> None:
    problems = Problems()
    assert read_action({"action": "proxy", "proxy": raw}, problems) == proxy
    assert problems_of(problems) == ()
    assert proxy.names_cell is (proxy.cell is not None or proxy.address is not None)
