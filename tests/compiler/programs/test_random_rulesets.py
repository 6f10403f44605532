"""Programs of random rulesets, with everything a rule may say, decide as the evaluator does."""

from __future__ import annotations

import random

from control_plane.routing.rules.parse import parse
from tests.compiler.programs.comparison import Comparison, some_cells, some_owners
from tests.compiler.programs.random_rulesets import random_ruleset
from tests.compiler.programs.requests import RequestMaker

RULESETS = 250


def test_programs_of_random_rulesets_and_the_evaluator_decide_alike() -> None:
    answered = asked = 0
    for seed in range(RULESETS):
        ruleset = parse(random_ruleset(random.Random(seed)))
        comparison = Comparison(ruleset, some_cells(), some_owners(ruleset, seed))
        maker = RequestMaker(seed)
        requests = [maker.plain(rule) for rule in ruleset.rules for _ in range(8)]
        requests += [maker.odd(rule) for rule in ruleset.rules for _ in range(8)]
        requests += [maker.mutated(maker.choose.choice(requests), requests) for _ in range(40)]
        differences = comparison.differences(requests)
        assert not differences, f"{ruleset}\n{differences[0]}"
        said = comparison.said(requests)
        asked += len(said)
        answered += sum(bool(one.answer) for one in said)
    assert answered > asked / 10
