"""Where a request is not plain, a program answers nothing; rules before that stay certain."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.routing.rules.parse import parse
from tests.compiler.programs.comparison import Comparison, some_cells
from tests.compiler.programs.module_host import ASK, OWNED, Decided

WHY_NOT_PLAIN, WHY_ASKED, WHY_OPAQUE, WHY_NO_CELL, WHY_NO_RULE = 5, 6, 7, 9, 10
LEAD = [(b":method", b"GET"), (b":authority", b"a.example")]


def _rule(name: str, match: Any, bucket: str = "route", **more: Any) -> dict[str, Any]:
    classify = {"classify": {"claims": [{bucket: "${v}"}]}}
    return {"id": name, "match": match, "action": "classify", "on_unknown": 404} | classify | more


def _path(pattern: str) -> dict[str, Any]:
    return {"type": "path", "regexValue": pattern}


def _header(name: str) -> dict[str, Any]:
    return {"type": "header", "name": name, "regexValue": "^(?<v>.+)$"}


OWNERS = {
    ("route", "foo"): (OWNED, 1),
    ("route", "fo%0a"): (OWNED, 2),
    ("route", "fo%"): (OWNED, 3),
    ("route", "a b"): (OWNED, 4),
    ("route", "unsure"): (ASK, 2),
    ("route", "elsewhere"): (OWNED, 99),
}
COMPARISON = Comparison(
    parse(
        {
            "rules": [
                _rule("path", _path("^/p/(?<v>[^/]+)")),
                _rule("header", [_header("^x-a$"), _path("^/h")]),
                _rule("any_header", [_header("^x-.*$"), _path("^/any")]),
                _rule("cookie", {"type": "cookie", "name": "^s$", "regexValue": "^(?<v>[a-z]+)"}),
                _rule("query", {"type": "query_string", "regexValue": "^q=(?<v>[^&]+)"}),
            ]
        }
    ),
    some_cells(),
    OWNERS,
)


def _said(path: bytes, *headers: tuple[bytes, bytes]) -> Decided:
    fields = [*LEAD, (b":path", path), *headers]
    (said,) = COMPARISON.said([fields])
    assert not COMPARISON.differences([fields])
    return said


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (b"/p/foo", "0:1"), (b"/p/FOO", "0:1"), (b"/p/%66oo", "0:1"), (b"/p/fo%6F?\xff", "0:1"), (b"/p/fo%", "0:3"),
        (b"/p/fo%zz", "0=unknown"), (b"/p/fo%0a", "0:2"), (b"/p/" + b"x" * 1024, "0=unknown"),
    ],
)  # fmt: skip
def test_plain_paths_are_answered(path: bytes, answer: str) -> None:
    assert _said(path).answer == answer


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (b"/p/%C3%BC", WHY_NOT_PLAIN), (b"/p/\xc3\xbc", WHY_NOT_PLAIN), (b"/p/foo" + b"/x" * 9000, WHY_NOT_PLAIN),
        (b"/p/unsure", WHY_ASKED), (b"/p/elsewhere", WHY_NO_CELL),
    ],
)  # fmt: skip
def test_what_is_not_plain_is_left_to_the_rule_that_it_matters_to(path: bytes, why: int) -> None:
    assert _said(path) == ("", 0, why)


def test_a_key_that_is_too_long_for_a_claim_is_passed_over() -> None:
    assert _said(b"/p/" + b"x" * 1025) == ("", 5, WHY_NO_RULE)


def test_headers_matter_only_to_rules_whose_other_matches_hold() -> None:
    odd = [(b"x-a", b"foo"), (b"x-a", b"foo")]
    assert _said(b"/h", *odd) == ("", 1, WHY_NOT_PLAIN)
    assert _said(b"/h", (b"x-a", b"\xff")) == ("", 1, WHY_NOT_PLAIN)
    assert _said(b"/h", odd[0]).answer == "1:1"
    assert _said(b"/x", *odd, (b"cookie", b"s=foo")).answer == "3:1"


def test_headers_by_regex_are_never_certain_where_the_path_matches() -> None:
    assert _said(b"/any")[1:] == (2, WHY_NOT_PLAIN)
    assert _said(b"/other?q=foo").answer == "4:1"


@pytest.mark.parametrize(
    ("cookie", "answer"),
    [
        (b"s=foo; s=bar", "3:1"), (b"s=1; s=foo", "3:1"), (b" s = foo", "3:1"), (b"\ts\t=\tfoo\t;", "3:1"), (b"u=\xff; s=foo", "3:1"),
        (b"s=foo; s=\xff", "3:1"), (b"t=foo", ""), (b"s=\xff; s=foo", ""), (b"\xff=1; s=foo", ""),
    ],
)  # fmt: skip
def test_the_first_cookie_that_matches_counts(cookie: bytes, answer: str) -> None:
    assert _said(b"/x", (b"cookie", cookie)).answer == answer


def test_several_cookie_headers_are_not_plain() -> None:
    assert _said(b"/x", (b"cookie", b"s=foo"), (b"cookie", b"a=b")) == ("", 3, WHY_NOT_PLAIN)


def test_a_blank_in_a_query_is_a_plus() -> None:
    assert _said(b"/x?q=a+b").answer == "4:4"
    assert _said(b"/x?q=a%20b").answer == "4:4"
    assert _said(b"/x?q=a%2Bb").answer == "4=unknown"
    assert _said(b"/x?q=fo%6f").answer == "4:1"


def test_what_many_rules_decode_does_not_add_up() -> None:
    rules = [_rule(f"r{number}", _path("^/(?<v>.*)$"), on_unknown="next") for number in range(40)]
    path = b"/" + b"%61" * 300
    comparison = Comparison(
        parse({"rules": [*rules, _rule("last", _path("^/(?<v>a)"))]}), some_cells(), OWNERS
    )
    (said,) = comparison.said([[*LEAD, (b":path", path)]])
    assert (said.rule, said.why) == (41, WHY_NO_RULE)
