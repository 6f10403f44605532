"""Which of many regexes occur in a text, as RE2 says it."""

from __future__ import annotations

import random
import time

import pytest

from control_plane.compiler.automata import Budget, compile_set, match_set
from control_plane.routing.rules.regex import Regex
from control_plane.routing.rules.ruleset import Subject
from tests.compiler.automata.gitlab_regexes import PATHS, gitlab_regexes
from tests.compiler.automata.runner import SetRunner, set_is_good

MUTATIONS = 50
"""Of each of GitLab's paths."""


def runner(*patterns: str) -> SetRunner:
    made = compile_set(patterns)
    assert made is not None
    assert set_is_good(made.code)
    return SetRunner(made.code)


@pytest.mark.parametrize(
    ("pattern", "text", "occurs"),
    [
        ("^/a/b$", b"/a/b", True),
        ("^/a/b$", b"/a/b\n", False),
        ("^a.b$", b"a\nb", False),
        ("(?s:^a.b$)", b"a\nb", True),
        (r"^\s$", b"\x0b", False),
        (r"^\W$", b"\xe9", True),
        ("(?i:^straSSe$)", b"STRASSE", True),
        ("(?i:[^k])", b"K", False),
        (r"\bab\b", b"x ab-", True),
        (r"\bab\b", b"xab ", False),
        (r"a\B", b"a", False),
        (r"\B", b"", True),
        (r"\b^a", b"a", True),
        ("$", b"xyz", True),
        ("$^", b"", True),
        ("$^", b"x", False),
        ("", b"x", True),
        (r"[^\w\W]", b"x", False),
        ("b", b"aaaab", True),
        ("(?:^|&)a=", b"b=1&a=2", True),
        ("(?:^|&)a=", b"b=1&ba=2", False),
    ],
)
def test_one_regex_occurs_as_in_re2(pattern: str, text: bytes, occurs: bool) -> None:
    assert Regex(pattern).matches(text) is occurs
    assert runner(pattern).occur(text) == ({0} if occurs else set())


def test_each_bit_is_a_regex() -> None:
    patterns = [f"^/{number}(?:/|$)" for number in range(200)]
    many = runner(*patterns)
    assert many.occur(b"/64/x") == {64}
    assert many.occur(b"/199") == {199}
    assert many.occur(b"/200") == set()


def test_a_set_without_regexes_has_no_bits() -> None:
    assert runner().occur(b"/x") == set()


def test_regexes_that_multiply_their_states_are_split() -> None:
    patterns = [f"{letter}[a-z]{{7}}{letter}" for letter in "abcdefgh"]
    made = compile_set(patterns)
    assert made is not None
    assert len(made.states) > 1
    many = SetRunner(made.code)
    for text in (b"axxxxxxxa", b"hxxxxxxxh axxxxxxxa", b"bxxxxxxb", b"bcxxxxxxbc"):
        assert many.occur(text) == {
            at for at, pattern in enumerate(patterns) if Regex(pattern).matches(text)
        }


def test_what_is_too_large_has_no_automaton(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compile_set(["a.{13}b"]) is None
    assert compile_set(["^a"] * (match_set.MAX_PATTERNS + 1)) is None
    assert compile_set(["^a"] * match_set.MAX_PATTERNS) is not None
    monkeypatch.setattr(match_set, "MAX_STATES", 20)
    assert compile_set(["^/abc", "^/[^/]+x"]) is not None
    monkeypatch.undo()
    monkeypatch.setattr(match_set, "MAX_BYTES", 400)
    assert compile_set(["^/abc", "^/[^/]+x"]) is None


def test_building_stops_when_the_budget_is_spent() -> None:
    budget = Budget(5_000)
    assert compile_set(["^/abc"], budget) is not None
    left = budget.steps
    assert 0 < left < 5_000
    assert compile_set(["^(?:a?){500}$"], budget) is None
    assert budget.steps < 0
    assert compile_set(["^/abc"], budget) is None


def test_what_python_may_read_otherwise_has_no_automaton() -> None:
    assert compile_set(["^/a", r"\pL"]) is None
    assert compile_set(["[[:alpha:]]"]) is None


@pytest.mark.parametrize("subject", [Subject.PATH, Subject.QUERY, Subject.HEADER, Subject.COOKIE])
def test_gitlabs_regexes_are_small_automata(subject: Subject) -> None:
    patterns = [regex.pattern for regex in gitlab_regexes()[subject]]
    started = time.process_time()
    made = compile_set(patterns)
    assert time.process_time() - started < 1
    assert made is not None
    assert len(made.states) == (2 if subject is Subject.HEADER else 1)
    assert len(made.code) < 64 << 10


def test_gitlabs_paths_are_told_apart_as_re2_does() -> None:
    regexes = gitlab_regexes()[Subject.PATH]
    many = runner(*(regex.pattern for regex in regexes))
    choose = random.Random(15)
    alphabet = sorted(set(b"".join(PATHS)) | set(b"\x00\xff%2f"))
    for path in PATHS:
        for _ in range(MUTATIONS):
            text = bytearray(path)
            at = choose.randrange(len(text) + 1)
            text[at : at + choose.randrange(3)] = bytes(choose.choices(alphabet, k=2))
            expected = {n for n, regex in enumerate(regexes) if regex.matches(bytes(text))}
            assert many.occur(bytes(text)) == expected
