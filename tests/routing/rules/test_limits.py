"""Whatever the rule language accepts, the compiler and the evaluator can work with.

The limits stand in `routing`, which knows nothing of the compiler. So it is shown here that they are
enough for it: by random patterns, and by rulesets at the limits.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
import re2
from hypothesis import example, given, settings
from hypothesis import strategies as st

from control_plane.compiler.edge import compile_edge
from control_plane.compiler.model import TrafficPolicy
from control_plane.routing.rules.limits import (
    MAX_FINDINGS,
    MAX_KEYED_RULES,
    MAX_PATTERN_CHARS_IN_ALL,
    MAX_PATTERNS,
    MAX_PROBLEMS,
    MAX_PROGRAM_IN_ALL,
    MAX_RULES,
)
from control_plane.routing.rules.lint import lint
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.problems import RulesetError
from control_plane.routing.rules.regex import MAX_NESTING, MAX_PROGRAM, Regex, RegexError, nesting
from control_plane.topology.values.cell import Cell, CellState
from control_plane.topology.values.endpoint import Endpoint

CELL = Cell(
    *(1, "cell-1", "cell-1.example", (Endpoint("127.0.0.1", 1),), None, None, "cell-1"),
    *((), {}, CellState.ACTIVE, 100, True, 1),
)
CLAIM = {"action": "classify", "classify": {"claims": [{"route": "x"}]}}
KEY = {"action": "classify", "classify": {"type": "CELL_ID", "value": "${k}"}}


def rule(number: int, *patterns: str, **action: Any) -> dict[str, Any]:
    matches = [{"type": "path", "regexValue": pattern} for pattern in patterns]
    return {"id": f"r{number}", "match": matches, **(action or CLAIM)}


def compiled(rules: list[dict[str, Any]]) -> int:
    """Return the size of what rules compile to; `RulesetError` if they are refused."""
    ruleset = parse({"rules": rules})
    resources = compile_edge((CELL,), ruleset, TrafficPolicy(), 1)
    ruleset.candidates(b"/a" * 100)
    return sum(len(resource.body) for resource in resources)


atoms = st.sampled_from(
    ["a", "/", ".", "[^/]+", "[(]", "[]()]", r"\(", r"\)", "[[:alpha:](]", r"[\](]", r"\Q((\E", "$"]
)
opening = st.sampled_from(["(", "(?:", "(?i:", "(?P<n>", "(?<n>"])
closing = st.sampled_from([")", ")*", ")?", "){2}", ")+?", "|b)", "|)"])


@st.composite
def nested(draw: st.DrawFn) -> tuple[str, int]:
    """Draw a pattern, and how deep its groups stand."""
    pattern, depth = "", 0
    for _ in range(draw(st.integers(1, 3))):
        deep = draw(st.one_of(st.integers(0, 5), st.integers(MAX_NESTING - 3, MAX_NESTING + 3)))
        start, end, inner = draw(opening), draw(closing), draw(atoms) + draw(atoms)
        if "<n>" in start:
            start = start if deep <= 1 and "<n>" not in pattern else "("
        pattern += draw(atoms) + start * deep + inner + end * deep
        depth = max(depth, deep)
    folds = draw(st.booleans())
    return f"(?i)^{pattern}" if folds else pattern, max(depth, folds)


@given(nested())
@settings(max_examples=150, deadline=None)
def test_what_is_accepted_compiles_however_deep_its_groups_stand(drawn: tuple[str, int]) -> None:
    pattern, depth = drawn
    assert nesting(pattern) == depth
    try:
        Regex(pattern)
    except RegexError:
        with pytest.raises(RulesetError):
            parse({"rules": [rule(1, pattern)]})
    else:
        assert depth <= MAX_NESTING
        assert compiled([rule(1, pattern), rule(2, pattern, action="proxy")])


@given(st.text(r"()[]^:\\QEa", max_size=30))
@example(r"[[:a(((]")
@example(r"\Q(((")
@settings(max_examples=500, deadline=None)
def test_no_pattern_hides_its_groups(pattern: str) -> None:
    """The groups are seen that are there, if there are no deeper ones than groups in all."""
    try:
        groups = re2.compile(pattern.encode()).groups
    except re2.error:
        return
    assert nesting(pattern) <= groups
    assert bool(nesting(pattern)) == bool(groups)


@pytest.mark.parametrize("start", ["(", "(?:"])
def test_950_nested_groups_are_refused(start: str) -> None:
    findings = lint({"rules": [rule(1, "^" + start * 950 + "a" + ")" * 950)]})
    assert [one.severity for one in findings] == ["error"]
    assert "groups stand one within another" in findings[0].message


def refusal(rules: list[dict[str, Any]]) -> str:
    with pytest.raises(RulesetError) as refused:
        parse({"rules": rules})
    return str(refused.value)


@pytest.mark.parametrize("times", [3, 20, 60, 300])
def test_a_small_pattern_with_a_large_program_is_refused_soon(times: int) -> None:
    before = time.process_time()
    message = refusal([rule(n, "[a-z]{1,1000}" * times + str(n)) for n in range(60)])
    assert f"more than {MAX_PROGRAM} instructions" in message
    assert f"more than {MAX_PROGRAM_IN_ALL} RE2 instructions" in message
    assert time.process_time() - before < 5, "12 s for each of them once"


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([rule(n) for n in range(MAX_RULES + 1)], f"more than {MAX_RULES} rules"),
        ([rule(n, *["a"] * 32) for n in range(MAX_PATTERNS // 32 + 1)], "patterns"),
        (
            [rule(n, "a" * 4000) for n in range(MAX_PATTERN_CHARS_IN_ALL // 4000 + 1)],
            "more than",
        ),
        (
            [rule(n, f"^/(?<k>{n})/", **KEY) for n in range(MAX_KEYED_RULES + 1)],
            "rules look a key up",
        ),
        ([rule(1, "(")] * (MAX_PROBLEMS + 50), "RE2 refuses"),
    ],
)
def test_more_than_a_limit_is_refused(rules: list[dict[str, Any]], message: str) -> None:
    assert message in refusal(rules)


def test_what_is_reported_is_bounded() -> None:
    fields = {f"x{n}": 1 for n in range(20_000)}
    assert len(lint({"rules": [{"id": "a" * 5, **fields}]})) == MAX_PROBLEMS
    (finding,) = lint({"rules": [{"id": "a", "action": "x" * 500_000}]})
    assert len(finding.message) < 10_000
    weights = {f"unknown-{n}": 1 for n in range(1000)}
    spread = {"action": "proxy", "proxy": {"weighted": weights}}
    assert len(lint({"rules": [rule(n, **spread) for n in range(5)]}, [CELL])) == MAX_FINDINGS


@pytest.mark.parametrize(
    "rules",
    [
        [rule(n, f"^/(?<a>[^/]+)/{n}(?:/|$)", f"/{n}$") for n in range(MAX_RULES)],
        [rule(n, "^/" + "a" * 3900 + str(n)) for n in range(12)],
        [rule(n, "^/[a-z]{1,1000}[a-z]{1,1000}" + str(n)) for n in range(12)],
        [rule(n, f"^/(?<k>[0-9]+)/{n}", **KEY) for n in range(MAX_KEYED_RULES)],
    ],
    ids=["rules", "characters", "instructions", "keys"],
)
def test_a_ruleset_at_a_limit_compiles(rules: list[dict[str, Any]]) -> None:
    before = time.process_time()
    assert compiled(rules) < 16 << 20
    assert time.process_time() - before < 20
