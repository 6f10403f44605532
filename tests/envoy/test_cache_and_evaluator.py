"""The edge cache and the evaluator give each request the same answer."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.envoy.cache_oracle import Oracle
from tests.envoy.random_rules import Sent

RULESETS = 250
"""Random ones in a run of the tests; ``make soak`` tries many more."""
TELLING_APART = {
    "groups in the first and the last alternative": (
        "^/api/(?<k>[^/]+)(?:/|$)", "^/x(?:1)|^/api/[^/]+/(?<k>deep)/z", "^/api/(?<k>)",
    ),
    "a bar between escaped brackets": (
        "^/api/(?<k>[^/]+)(?:/|$)", r"^/x\(1|^/api/[^/]+/(?<k>deep)\)?/z", "^/api/(?<k>)",
    ),
    "a slash in a class that looks like a group": (
        "^/api/(?<k>[^/]+)[^(?<a>-~]*", "^/api/v[0-9]+[^(?<a>-~]d(?<k>eep)/z", "^/api/(?<k>)",
    ),
    "a first rule without an exact condition": (
        r"^/x/\S(?<k>y)", "^/api/[^/]+/(?<k>deep)/z", "^/api/(?<k>)",
    ),
}  # fmt: skip


def rule(name: str, pattern: str) -> dict[str, Any]:
    claim = {"one": "${k}"} if "(?<k>)" not in pattern else {"one": "everybody"}
    match = {"type": "path", "regexValue": pattern}
    classify = {"claims": [claim]}
    return {"id": name, "match": match, "action": "classify", "classify": classify}


@pytest.mark.parametrize("patterns", TELLING_APART.values(), ids=TELLING_APART.keys())
def test_what_a_rule_tells_apart_has_two_keys(patterns: tuple[str, ...]) -> None:
    oracle = Oracle()
    rules = [rule(f"r{at}", pattern) for at, pattern in enumerate(patterns)]
    for number in range(20):
        paths = [f"/api/v{number}/{end}" for end in ("deep/z", "deep/y", "a", "")]
        sent = [Sent(path, None, {":method": "GET", ":authority": "x"}) for path in paths]
        oracle.check(rules, sent)


@pytest.mark.parametrize("seed", range(5))
def test_random_requests_are_answered_as_the_evaluator_decides(seed: int) -> None:
    choose, oracle = random.Random(seed), Oracle()
    for _ in range(RULESETS // 5):
        oracle.check_random(choose)
    assert oracle.hits > oracle.requests / 10
