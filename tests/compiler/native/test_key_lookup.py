"""Where a key stands in a header, and how it is spelled there."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.compiler.native.analyse import NativeRule, analyse
from control_plane.compiler.native.conditions import Condition
from control_plane.compiler.native.key_lookup import KeyLookup
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.regex import Regex


def cookie(pattern: str, name: str = "^s$") -> dict[str, str]:
    return {"type": "cookie", "name": name, "regexValue": pattern}


def header(pattern: str) -> dict[str, str]:
    return {"type": "header", "name": "^x-id$", "regexValue": pattern}


def lookup_of(match: Any, value: str = "${p}") -> KeyLookup | None:
    classify = {"type": "SESSION_PREFIX", "value": value}
    rules = parse([{"id": "r", "match": match, "action": "classify", "classify": classify}]).rules
    native = analyse(rules[0])
    return native.lookup if isinstance(native, NativeRule) else None


def lookup(match: Any, value: str = "${p}") -> KeyLookup:
    made = lookup_of(match, value)
    assert made is not None
    return made


def holds(condition: Condition, value: str) -> bool:
    return Regex(f"^(?:{condition.regex})$").matches(value.encode())


def test_a_template_around_the_capture_is_taken_off_the_keys() -> None:
    keyed = lookup(header("^(?<p>[0-9]+)$"), "cell-${p}-x")
    assert keyed.texts(["cell-1-x", "cell-2", "1", "cell--x", "cell-a-x"]) == {"1": "cell-1-x"}


def test_only_texts_that_the_group_can_capture_count() -> None:
    assert lookup(cookie("^(?<p>[a-c]+)-")).texts(["abc", "abd", ""]) == {"abc": "abc"}


@pytest.mark.parametrize(
    ("match", "value", "stands", "may_stand"),
    [
        (cookie("^(?<p>[a-c]+)-"), "s=ab-x", True, True),
        (cookie("^(?<p>[a-c]+)-"), "t=1; s = ab-", True, True),
        (cookie("^(?<p>[a-c]+)-"), "xs=ab-x", False, False),
        (cookie("^(?<p>[a-c]+)"), "s=abc", False, True),
        (cookie("^(?<p>[a-c]+)$"), "s=ab ;t=1", True, True),
        (cookie("^(?<p>[a-c]+)$"), "s=ab-", False, True),
        (header("^(?<p>[a-c]+)$"), "ab", True, True),
        (header("^(?<p>[a-c]+)$"), "abx", False, True),
        (header("^v:(?<p>[a-c]+)"), "v:ab/", True, True),
    ],
)
def test_a_key_stands_there_only_as_a_whole(
    match: dict[str, str], value: str, stands: bool, may_stand: bool
) -> None:
    keyed = lookup(match)
    assert holds(keyed.holds(["ab"]), value) is stands
    assert holds(keyed.may_hold(["ab"]), value) is may_stand


@pytest.mark.parametrize(
    ("match", "spelled"),
    [
        (cookie("^v1:(?<p>[a-c]+)-"), {"s=v1:a-": "a", "s=v1:ab-": "ab"}),
        (header("^(?<p>[a-c]+)-"), {"a-": "a", "ab-": "ab"}),
        (cookie("^(?<p>[a-c]+)$"), None),
        (cookie("^[xy](?<p>[a-c]+)-"), None),
    ],
)
def test_spellings_are_given_where_they_tell_keys_apart(
    match: dict[str, str], spelled: dict[str, str] | None
) -> None:
    assert lookup(match).spelled(["ab", "a"]) == spelled


def test_a_mark_that_stands_twice_is_seen() -> None:
    twice = lookup(cookie("^(?<p>[a-c]+)-", "^_s[0-9]*$")).twice()
    assert holds(twice, "_s1=a-; _s=b-")
    assert not holds(twice, "_s1=a-; t=b-")


@pytest.mark.parametrize(
    "match",
    [
        [cookie("^(?<p>[a-c]+)-"), {"type": "header", "name": "^(?<p>.*)$"}],
        {"type": "header", "name": "^host$", "regexValue": "^(?<p>[a-c]+)$"},
        {"type": "header", "name": "^(?:a|b)$", "regexValue": "^(?<p>[a-c]+)$"},
        header("^(?<p>[^-]+)-"),
        cookie("^(?<p>[a-c]+)-", "^[xy]s$"),
    ],
)
def test_what_may_be_read_in_several_ways_has_no_lookup(match: Any) -> None:
    assert lookup_of(match) is None


def test_of_two_captures_of_a_name_the_last_match_counts() -> None:
    keyed = lookup([header("^(?<p>[0-9]+)$"), cookie("^(?<p>[a-c]+)-")])
    assert keyed.header == "cookie"
