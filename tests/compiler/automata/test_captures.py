"""What a regex captures, as RE2 says it."""

from __future__ import annotations

import pytest

from control_plane.compiler.automata import Budget, captures, compile_captures
from control_plane.compiler.automata.captures import in_order
from control_plane.routing.rules.regex import Regex
from tests.compiler.automata.gitlab_regexes import PATHS, gitlab_regexes
from tests.compiler.automata.runner import (
    CapturesRunner,
    Spans,
    captured_by_re2,
    captures_are_good,
)


def runner(pattern: str, *groups: str) -> CapturesRunner:
    made = compile_captures(pattern, groups)
    assert made is not None
    assert captures_are_good(made.code)
    return CapturesRunner(made.code, made.groups)


@pytest.mark.parametrize(
    ("pattern", "text", "spans"),
    [
        ("^/(?<k>[^/]+)(?:/|$)", b"/ab/c", {"k": (1, 3)}),
        ("^/(?<k>[^/]+)(?:/|$)", b"/ab", {"k": (1, 3)}),
        ("^/(?<k>[^/]+)/$", b"/ab", None),
        ("(?<k>a|ab)(?<l>c|bcd)(?<m>d*)", b"abcd", {"k": (0, 1), "l": (1, 4), "m": (4, 4)}),
        ("(?<k>a+?)(?<l>a*)", b"aaa", {"k": (0, 1), "l": (1, 3)}),
        ("(?<k>a+)(?<l>a*)", b"aaa", {"k": (0, 3), "l": (3, 3)}),
        ("b(?<k>a)?", b"xxba", {"k": (3, 4)}),
        ("b(?<k>a)?", b"xxb", {}),
        ("(?:(?<k>a)|(?<l>b))*", b"ab", {"k": (0, 1), "l": (1, 2)}),
        ("(?<k>|a){2,3}", b"aa", {"k": (0, 0)}),
        ("(?<k>a)(?<k>b)", b"ab", {"k": (0, 1)}),
        (r"(?<k>\b\w+\b) (?<l>.*)", b"-ab cd", {"k": (1, 3), "l": (4, 6)}),
        ("(?<k>x){0}a", b"xa", {}),
        ("(?i:(?<k>B+))", b"abBc", {"k": (1, 3)}),
        ("(?<k>[ab]*)(?:b|$)", b"abab", {"k": (0, 4)}),
    ],
)
def test_a_regex_captures_as_in_re2(pattern: str, text: bytes, spans: Spans | None) -> None:
    regex = Regex(pattern)
    assert captured_by_re2(regex, text) == spans
    assert runner(pattern, *regex.groups).captured(text) == spans


def test_groups_come_in_the_order_that_was_asked_for() -> None:
    made = runner("^(?<a>x)(?<b>y)(?<c>z)", "c", "a")
    assert made.captured(b"xyz") == {"c": (2, 3), "a": (0, 1)}


def test_no_group_is_needed() -> None:
    made = runner("^a")
    assert made.captured(b"ab") == {}
    assert made.captured(b"b") is None


def test_a_group_must_be_there() -> None:
    with pytest.raises(KeyError):
        compile_captures("^(?<a>x)", ["b"])


def test_building_stops_when_the_budget_is_spent() -> None:
    budget = Budget(500)
    assert compile_captures("^(?<k>a)", ["k"], budget) is not None
    assert compile_captures("^(?<k>(?:a?b?c?d?){9})$", ["k"], budget) is None
    assert budget.steps < 0


def test_what_turns_on_the_spot_has_no_automaton() -> None:
    for pattern in ("(?<k>|a)*", "(?<k>a??)+", "(?:(?<k>a*))*b", r"(?<k>\b|a)+?", "(?<k>a?){2,}"):
        assert compile_captures(pattern, ["k"]) is None
    # Why: RE2 prefers the empty way of this loop only where it begins.
    assert Regex("^(?<k>(?:(?:|a)*)+?a)").spans(b"aaa") == {"k": (0, 3)}
    assert Regex("^(?<k>(?:(?:|a)+)+?a)").spans(b"aaa") == {"k": (0, 1)}


def test_what_is_too_large_has_no_automaton(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compile_captures("a.{13}b", []) is None
    assert compile_captures(r"^\x2f", []) is None
    many = "".join(f"(?<k{number}>a)?" for number in range(captures.MAX_CAPTURED + 1))
    groups = [f"k{number}" for number in range(captures.MAX_CAPTURED + 1)]
    assert compile_captures(many, groups) is None
    assert compile_captures("(?<k>a)(?<l>b)?(?:x|xy|xyz)*?$", ["k", "l"]) is not None
    monkeypatch.setattr(captures, "MAX_REGISTERS", 6)
    assert compile_captures("(?<k>a)(?<l>b)?(?:x|xy|xyz)*?$", ["k", "l"]) is None
    monkeypatch.undo()
    monkeypatch.setattr(captures, "MAX_CAPTURES_BYTES", 300)
    assert compile_captures("^(?<k>a)", ["k"]) is None


def test_gitlabs_regexes_capture_as_re2_does() -> None:
    regexes = [regex for group in gitlab_regexes().values() for regex in group]
    texts = [
        *PATHS,
        b"cell-7-abc",
        b"bearer glcbt-a.eyJ.b",
        b"Basic eDp5eg==",
        b"x=1&job_token=glcbt-a.b.c",
    ]
    texts += [text[:at] for text in PATHS for at in range(len(text))]
    for regex in regexes:
        made = runner(regex.pattern, *regex.groups)
        for text in texts:
            assert made.captured(text) == captured_by_re2(regex, text)


@pytest.mark.parametrize(
    "pairs",
    [
        [(1, 2), (2, 1)],
        [(1, 2), (2, 3), (3, 1), (4, 1)],
        [(1, 2), (2, 3), (3, 4)],
        [(3, 2), (2, 1), (4, -1), (1, -2)],
        [(1, 2), (2, 1), (3, 4), (4, 3)],
        [],
    ],
)
def test_moves_in_order_do_what_moves_at_once_do(pairs: list[tuple[int, int]]) -> None:
    before = {register: f"was {register}" for register in range(6)} | {-1: "here", -2: "none"}
    at_once = before | {to: before[source] for to, source in pairs}
    in_turn = dict(before)
    for to, source in in_order(pairs, 5):
        in_turn[to] = in_turn[source]
    assert in_turn | {5: ""} == at_once | {5: ""}
