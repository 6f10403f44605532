"""Holds what the edge cache's script says against the evaluator, over random rules and requests.

The script runs as in an Envoy worker, with its cache. Its questions are answered by the evaluator.
A request's route is chosen as Envoy does it: by the conditions that the compiler writes for each
rule; where Envoy answers by itself, its rule must be the evaluator's. So if the cache gives a request
another answer than the evaluator, two requests that the rules tell apart have shared a key. An answer stands here for all that a decision says, its claim
included, and not only for the cell.

``make soak`` runs this for minutes: ``python -m tests.envoy.cache_oracle --minutes 2``.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from control_plane.compiler.native.analyse import AskClassifier
from control_plane.compiler.native.conditions import Condition
from control_plane.compiler.routes import AnalysedRuleset
from control_plane.routing.evaluate import decide
from control_plane.routing.model import ClaimKey, Request, Weighted
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.problems import RulesetError
from control_plane.routing.rules.regex import Regex
from tests.envoy.lua_edge import Answer, Edge, answering
from tests.envoy.random_rules import RandomRules, Sent
from tests.support.cells import cells

FAMILIES, SIZE = 4, 12
"""Requests for each ruleset: so many families of so many."""
CELLS = cells()


class WrongAnswer(AssertionError):
    """The cache and the evaluator differ."""


@dataclass
class Oracle:
    """An edge whose questions are answered by the evaluator."""

    edge: Edge = field(default_factory=lambda: Edge(entries=1_000_000))
    requests: int = 0
    hits: int = 0

    def check(self, rules: list[dict[str, Any]], sent: Sequence[Sent]) -> None:
        """Send requests one after another.

        Raises:
            WrongAnswer: the cache has given one of them another answer than the evaluator.
            RulesetError: there is no such ruleset.
        """
        analysed = AnalysedRuleset.of(parse({"rules": rules}))
        routes = _routes(analysed)
        before: list[Sent] = []
        for one in sent:
            headers = one.headers | {":path": one.target}
            right = _answer(analysed, one)
            route = next((some for some in routes if some.takes(headers)), _NO_RULE)
            if route.name is None:
                if route.rule != right.rule:
                    raise WrongAnswer(f"rules {rules}\nEnvoy says {route.rule}\nrequest {one}")
                continue
            self.edge.classifier = answering(right)
            asked = len(self.edge.asked)
            added, _ = self.edge.get(one.target, route.name, **one.headers)
            self.requests += 1
            self.hits += len(self.edge.asked) == asked
            self.edge.asked.clear()
            if (added["x-cellway-cell"], added["x-cellway-rule"]) != (right.cell, right.rule):
                raise WrongAnswer(f"rules {rules}\n{route.name}\nbefore {before}\nrequest {one}")
            before.append(one)

    def check_random(self, choose: random.Random) -> None:
        """Check one random ruleset; none, if RE2 refuses it."""
        some = RandomRules(choose)
        sent: list[Sent] = []
        for _ in range(FAMILIES):
            sent.append(some.request())
            for _ in range(SIZE):
                sent.append(some.neighbour(choose.choice(sent[-4:])))
        try:
            self.check(some.rules, sent)
        except RulesetError:
            return


@dataclass(frozen=True, slots=True)
class _Route:
    rule: str
    name: str | None = None
    """None: Envoy answers by itself."""
    conditions: tuple[Callable[[Mapping[str, str]], bool], ...] = ()

    def takes(self, headers: Mapping[str, str]) -> bool:
        return all(condition(headers) for condition in self.conditions)


_NO_RULE = _Route("-")


def _routes(analysed: AnalysedRuleset) -> list[_Route]:
    """Return the routes in their order."""
    names = analysed.names.by_rule
    return [
        _Route(
            one.rule.id,
            names[one.rule.id] if isinstance(one, AskClassifier) else None,
            tuple(_holds(condition) for condition in one.conditions),
        )
        for one in analysed.rules
    ]


def _holds(condition: Condition) -> Callable[[Mapping[str, str]], bool]:
    whole = Regex(rf"\A(?:{condition.regex})\z")
    return lambda headers: (
        any(name in headers and whole.matches(headers[name].encode()) for name in condition.headers)
        is not condition.invert
    )


def _answer(analysed: AnalysedRuleset, sent: Sent) -> Answer:
    """Return what the classifier says, with a cell that stands for the whole decision."""
    asked: list[ClaimKey] = []

    def owners(claims: tuple[ClaimKey, ...]) -> list[int | None]:
        asked.extend(claims)
        return [(None, None, None, 1, 2, 3)[_digest(claim)[0] % 6] for claim in claims]

    fields = [(name, value) for name, value in sent.headers.items() if name != ":method"]
    request = Request.of(sent.target, fields, method=sent.headers[":method"])
    decision = decide(analysed.ruleset, request, CELLS, owners, trace=False)
    revision = 0 if isinstance(decision.outcome, Weighted) else 5
    cell = f"cell-{_digest((decision, asked)).hex()}"
    return Answer(cell, revision, tuple(range(len(asked))), decision.rule or "-")


def _digest(value: object) -> bytes:
    return hashlib.sha256(repr(value).encode("utf-8", "surrogateescape")).digest()[:8]


def main() -> int:
    """Check random rulesets for some minutes; return 1 after a wrong answer."""
    parser = argparse.ArgumentParser(description="compare the edge cache with the evaluator")
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}")
    choose, end = random.Random(chosen.seed), time.monotonic() + 60 * chosen.minutes
    oracle = Oracle()
    while time.monotonic() < end:
        try:
            oracle.check_random(choose)
        except WrongAnswer as wrong:
            print(f"WRONG: {wrong}")
            return 1
    print(f"{oracle.requests} requests as the evaluator says, {oracle.hits} of them from the cache")
    return 0


if __name__ == "__main__":
    sys.exit(main())
