"""What rules can't see is left out, and nothing else."""

from __future__ import annotations

import pytest

from control_plane.simulation.logs.aspects import MAX_NAMES
from tests.simulation.rules import PATH, aspects_of


@pytest.mark.parametrize(
    ("pattern", "target", "seen"),
    [
        ("token=(?<t>[a-z]+)", "/a?page=1", "/a"),
        ("token=(?<t>[a-z]+)", "/a?token=abc&page=1", "/a?token=abc&page=1"),
        ("^$", "/a?page=1", "/a?page=1"),
        ("token", "/a?x=\u00e4", "/a?x=\u00e4"),
        ("token", "/a?x#y", "/a?x#y"),
        ("token", "/a", "/a"),
    ],
)
def test_a_query_is_left_out_if_no_rule_sees_it(pattern: str, target: str, seen: str) -> None:
    assert aspects_of({"type": "query_string", "regexValue": pattern}).target(target) == seen


def test_without_rules_about_queries_every_plain_query_is_left_out() -> None:
    assert aspects_of(PATH).target("/a?b=c") == "/a"


def test_headers_are_those_that_a_rule_names() -> None:
    seen = aspects_of(
        {"type": "header", "name": "^x-tenant$", "regexValue": "."},
        {"type": "header", "name": "^x-any-", "regexValue": "."},
    )
    names = ["x-tenant", "x-any-thing", "user-agent", "cookie", "host"]
    assert [name for name in names if seen.sees_header(name)] == ["x-tenant", "x-any-thing"]
    assert seen.header("x-tenant", "a") == ("x-tenant", b"a")
    assert seen.header("user-agent", "a") is None


def test_cookies_are_those_that_a_rule_names() -> None:
    seen = aspects_of({"type": "cookie", "name": "^session", "regexValue": "c1"})
    assert seen.header("cookie", "a=b; session=x; sessions=y") == (
        "cookie",
        b" session=x; sessions=y",
    )
    assert seen.header("cookie", "a=b") is None


def test_a_rule_about_the_cookie_header_sees_all_of_it() -> None:
    cookie = {"type": "cookie", "name": "^session", "regexValue": "c1"}
    seen = aspects_of(cookie, {"type": "header", "name": "^cookie$", "regexValue": "a=b"})
    assert seen.header("cookie", "a=b; x=y") == ("cookie", b"a=b; x=y")


def test_names_of_strangers_are_remembered_within_bounds() -> None:
    seen = aspects_of({"type": "header", "name": "^x-", "regexValue": "."})
    assert all(seen.sees_header(f"x-{number}") for number in range(MAX_NAMES + 10))
    assert not seen.sees_header("y")
