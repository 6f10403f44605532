"""Programs and the evaluator decide alike, and programs do decide what is plain."""

from __future__ import annotations

from functools import cache

import pytest

from control_plane.routing.rules.parse import parse
from control_plane.shipped import RULESETS
from tests.compiler.programs.comparison import Comparison, report, some_cells, some_owners
from tests.compiler.programs.module_host import ASK
from tests.compiler.programs.requests import RequestMaker, is_plain

SHIPPED = ("gitlab", "generic", "session_prefix", "passthrough")


@cache
def _comparison(name: str) -> Comparison:
    ruleset = parse((RULESETS / f"{name}.json").read_text())
    return Comparison(ruleset, some_cells(), some_owners(ruleset, 1))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_plain_request_is_answered_as_the_evaluator_decides_it(name: str) -> None:
    comparison = _comparison(name)
    certain = {key: owner for key, owner in comparison.owners.items() if owner[0] != ASK}
    comparison = Comparison(comparison.ruleset, comparison.cells, certain)
    maker = RequestMaker(name)
    decided: dict[str, int] = {}
    for rule in comparison.ruleset.rules:
        requests = [fields for _ in range(300) if is_plain(fields := maker.plain(rule))]
        said = comparison.said(requests)
        unanswered = [fields for fields, one in zip(requests, said, strict=True) if not one.answer]
        assert not unanswered, f"{rule.id}: {unanswered[:3]}"
        report(comparison.differences(requests))
        rules = [comparison.program.answers[one.answer].rule.id for one in said]
        decided[rule.id] = rules.count(rule.id)
    idle = [rule for rule, count in decided.items() if count == 0]
    assert not idle, "these rules decided none of their own requests"


COUNT = 100_000
"""Requests that differ from plain ones, of all shipped rulesets together."""


@pytest.mark.parametrize(
    ("name", "share"), [("gitlab", 0.8), ("generic", 0.1), ("session_prefix", 0.1)]
)
def test_whatever_a_program_answers_is_what_the_evaluator_decides(name: str, share: float) -> None:
    comparison = _comparison(name)
    maker = RequestMaker(f"{name} mutated")
    plain = [maker.plain(rule) for rule in comparison.ruleset.rules for _ in range(60)]
    plain += [
        maker.odd(rule) for rule in comparison.ruleset.rules if rule.transforms for _ in range(60)
    ]
    requests = [maker.mutated(maker.choose.choice(plain), plain) for _ in range(int(COUNT * share))]
    report(comparison.differences(requests))
