"""Whether matches hold for a request, and what they capture."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.routing.matching import (
    Subjects,
    bare_host,
    join_headers,
    match_failure,
    parse_cookies,
)
from control_plane.routing.model import Request
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.ruleset import Match


def match_of(document: dict[str, Any]) -> Match:
    return parse([{"id": "r", "action": "proxy", "match": document}]).rules[0].matches[0]


def captured(document: dict[str, Any], request: Request) -> dict[str, str] | None:
    values: dict[str, str] = {}
    failure = match_failure(match_of(document), Subjects(request), values)
    return values if failure is None else None


def test_cookie_parsing_keeps_order_and_ignores_what_is_none() -> None:
    assert parse_cookies(b" a = 1;b;;c=;=d; a=2 ") == (
        (b"a", b"1"), (b"c", b""), (b"", b"d"), (b"a", b"2"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        (b"Example.COM", b"example.com"),
        (b"example.com:8080", b"example.com"),
        (b"example.com.", b"example.com"),
        (b"example.com.:80", b"example.com"),
        (b"[::1]:80", b"[::1]"),
        (b"[::1]", b"[::1]"),
        (b"1", b"1"),
        (b"1:2", b"1"),
        (b"", b""),
    ],
)
def test_hosts_are_bare(authority: bytes, host: bytes) -> None:
    assert bare_host(authority) == host


MATCHES: list[tuple[dict[str, Any], Request, bool]] = [
    ({"type": "path", "regexValue": "^/a$"}, Request.of("/a?x=/b"), True),
    ({"type": "path", "regexValue": "x="}, Request.of("/a?x=1"), False),
    ({"type": "query_string", "regexValue": "^x=1$"}, Request.of("/a?x=1"), True),
    ({"type": "host", "regexValue": "^EX\\.com$"}, Request.of(authority="ex.COM:1"), True),
    ({"type": "method", "regexValue": "^(?:PUT|POST)$"}, Request.of(method="POST"), True),
    ({"type": "header", "name": "^X-A$"}, Request.of(headers={"x-a": ""}), True),
    ({"type": "header", "name": "^x-a$"}, Request.of(), False),
    ({"type": "header", "name": "x-.*", "regexValue": "1"}, Request.of(headers={"X-B": "1"}), True),
    ({"type": "header", "name": "^host$", "regexValue": "ex"}, Request.of(authority="ex"), True),
    ({"type": "header", "regex_name": "^a$", "regex_value": "1,2"},
     Request.of(headers=[("a", "1"), ("a", "2")]), True),
    ({"type": "path", "regexValue": "^/a", "invert": True}, Request.of("/a"), False),
    ({"type": "path", "regexValue": "^/a", "invert": True}, Request.of("/b"), True),
]  # fmt: skip


@pytest.mark.parametrize(("match", "request_", "matches"), MATCHES)
def test_matches(match: dict[str, Any], request_: Request, matches: bool) -> None:
    failure = match_failure(match_of(match), Subjects(request_), {})
    assert (failure is None) is matches


def test_repeated_headers_are_one_and_the_edges_own_are_not_seen() -> None:
    request = Request.of(
        "/", [("a", "1"), ("b", "2"), ("a", ""), ("x-request-id", "3"), ("content-length", "4")]
    )
    assert join_headers(request) == {"a": b"1,", "b": b"2"}


@pytest.mark.parametrize(
    ("cookies", "values"),
    [
        ("s=a; s=b", {"v": "a"}),
        ("s=1; s=b", {"v": "b"}),
        ("t=a", None),
        ("s=\u00fc", None),
    ],
)
def test_the_first_cookie_that_matches_is_captured(
    cookies: str, values: dict[str, str] | None
) -> None:
    match = {"type": "cookie", "name": "^s$", "regexValue": "^(?<v>[a-z])$"}
    assert captured(match, Request.of("/", {"cookie": cookies})) == values


def test_of_several_headers_the_order_of_the_rule_decides() -> None:
    match = {"type": "header", "name": "^(?:b|a)$", "regexValue": "^(?<v>.+)$"}
    for headers in ({"a": "1", "b": "2"}, {"b": "2", "a": "1"}):
        assert captured(match, Request.of("/", headers)) == {"v": "2"}
    every = {"type": "header", "name": "^[ab]$", "regexValue": "^(?<v>.+)$"}
    assert captured(every, Request.of("/", {"b": "2", "a": "1"})) == {"v": "1"}


def test_a_name_gives_captures_too() -> None:
    match = {"type": "cookie", "name": "^s_(?<n>.)$", "regexValue": "^(?<v>.)"}
    assert captured(match, Request.of("/", {"cookie": "s_x=yz"})) == {"n": "x", "v": "y"}


def test_a_failure_says_what_was_looked_for() -> None:
    match = match_of({"type": "header", "name": "^a$", "regexValue": "^1$"})
    assert match_failure(match, Subjects(Request.of("/")), {}) == "no header ^a$ matches ^1$"
    inverted = match_of({"type": "path", "regexValue": "^/a", "invert": True})
    assert match_failure(inverted, Subjects(Request.of("/a")), {}) == "path matches and must not"
