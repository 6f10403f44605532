"""What the classifier tells Envoy: a decision as three headers."""

from __future__ import annotations

import random
from typing import Protocol

from control_plane.routing.model import Decision, Status, ToCell

CELL_HEADER = "x-cellway-cell"
RULE_HEADER = "x-cellway-rule"
TIER_HEADER = "x-cellway-tier"
TIER = "classifier"


class Observer(Protocol):
    """Is told of each decision, for metrics."""

    def classified(self, decision: Decision, seconds: float) -> None:
        """A request was decided in this many seconds."""


def answer_headers(decision: Decision) -> tuple[tuple[str, str], ...]:
    """The headers that Envoy routes by.

    A refusal is "!" and its status: Envoy turns it into the response, so that a 5xx is not taken
    for a dead classifier. A weighted choice is made here.
    """
    outcome = decision.outcome
    if isinstance(outcome, ToCell):
        cell = outcome.cell
    elif isinstance(outcome, Status):
        cell = f"!{outcome.code}"
    else:
        names, weights = zip(*outcome.choices, strict=True)
        cell = random.choices(names, weights)[0]  # noqa: S311 - balances load, guards nothing
    return ((CELL_HEADER, cell), (RULE_HEADER, decision.rule or "-"), (TIER_HEADER, TIER))
