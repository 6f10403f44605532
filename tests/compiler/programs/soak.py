"""Compares programs with the evaluator for minutes, and counts the requests of each rule.

``make soak`` runs ``python -m tests.compiler.programs.soak --minutes 2``: half of the time the rules
of GitLab's ruleset in turn, then random rulesets.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter

from control_plane.routing.rules.parse import parse
from control_plane.shipped import RULESETS
from tests.compiler.programs.comparison import Comparison, some_cells, some_owners
from tests.compiler.programs.random_rulesets import random_ruleset
from tests.compiler.programs.requests import RequestMaker

PLAIN, MUTATED = 40, 2000
"""Requests of one rule and of one round."""


def check_shipped(name: str, end: float, seed: int, compared: Counter[str]) -> str | None:
    """Compare requests for each rule of a shipped ruleset; return the first difference."""
    ruleset = parse((RULESETS / f"{name}.json").read_text())
    while time.monotonic() < end:
        seed += 1
        comparison = Comparison(ruleset, some_cells(), some_owners(ruleset, seed))
        maker = RequestMaker(f"{name} {seed}")
        plain = {
            rule.id: [maker.plain(rule) for _ in range(PLAIN)]
            + [maker.odd(rule) for _ in range(PLAIN)]
            for rule in ruleset.rules
        }
        every = [fields for some in plain.values() for fields in some]
        for rule, own in plain.items():
            mutated = [maker.mutated(maker.choose.choice(own), every) for _ in range(MUTATED)]
            requests = own + mutated
            differences = comparison.differences(requests)
            if differences:
                return differences[0]
            compared[rule] += len(requests)
    return None


def check_random(end: float, seed: int, compared: Counter[str]) -> str | None:
    """Compare requests for random rulesets; return the first difference."""
    while time.monotonic() < end:
        seed += 1
        ruleset = parse(random_ruleset(random.Random(seed)))
        comparison = Comparison(ruleset, some_cells(), some_owners(ruleset, seed))
        maker = RequestMaker(seed)
        requests = [maker.plain(rule) for rule in ruleset.rules for _ in range(PLAIN)]
        requests += [maker.odd(rule) for rule in ruleset.rules for _ in range(PLAIN)]
        requests += [maker.mutated(maker.choose.choice(requests), requests) for _ in range(300)]
        differences = comparison.differences(requests)
        if differences:
            return f"{ruleset}\n{differences[0]}"
        compared["random rulesets"] += len(requests)
    return None


def main() -> int:
    """Compare for so many minutes; the exit status is 0 if there was no difference."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=2)
    options.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000_000)
    given = options.parse_args()
    compared: Counter[str] = Counter()
    half = given.minutes * 30
    wrong = check_shipped("gitlab", time.monotonic() + half, given.seed, compared)
    wrong = wrong or check_random(time.monotonic() + half, given.seed, compared)
    for name, count in compared.items():
        print(f"{name:28} {count:>12,}")
    if wrong is not None:
        print(f"seed {given.seed}: {wrong}")
    return wrong is not None


if __name__ == "__main__":
    raise SystemExit(main())
