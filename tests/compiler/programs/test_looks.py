"""What matches look at, and where a program can't look."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.compiler.programs.looks import CookieLook, NoLook, Part, Text, TextLook, look
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.ruleset import Match


def _match(**match: Any) -> Match:
    (rule,) = parse({"rules": [{"id": "r", "match": match, "action": "proxy"}]}).rules
    return rule.matches[0]


def test_each_part_of_a_request_is_one_text() -> None:
    parts = {"path": Part.PATH, "query_string": Part.QUERY, "method": Part.METHOD}
    for kind, part in parts.items():
        assert look(_match(type=kind, regexValue="^x")) == TextLook((Text(part),), "^x")
    assert look(_match(type="host", regexValue="^x")) == TextLook((Text(Part.HOST),), "(?i:^x)")


def test_headers_are_looked_at_in_the_order_of_their_names() -> None:
    texts = (Text(Part.HEADER, "x-b"), Text(Part.HEADER, "x-a"))
    assert look(_match(type="header", name="^(?:X-B|x-a)$")) == TextLook(texts, None)


def test_the_header_host_is_the_authority_as_it_was_sent() -> None:
    look_at = TextLook((Text(Part.HEADER, ":authority"),), "^A")
    assert look(_match(type="header", name="^Host$", regexValue="^A")) == look_at


def test_cookies_have_two_patterns() -> None:
    assert look(_match(type="cookie", name="^s", regexValue="x")) == CookieLook("^s", "x")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("^x-.*$", "the names of headers are a regex, ^x-.*$"),
        ("^content-length$", "no rule sees the header content-length"),
        ("^x-cellway-cell$", "no rule sees the header x-cellway-cell"),
        ("^(?:a|host)$", "Envoy changes the header host"),
        ("^te$", "Envoy changes the header te"),
    ],
)
def test_a_header_that_may_be_another_later_is_not_looked_at(name: str, reason: str) -> None:
    assert look(_match(type="header", name=name)) == NoLook(reason)
