"""Counts what the classifier tells its observer."""

from __future__ import annotations

from control_plane.routing.model import Decision
from tests.classifier.cache.counts import Counts


class DecisionCounts(Counts):
    """What was counted of decisions, and by cache and kind."""

    def __init__(self) -> None:
        super().__init__()
        self.decisions: list[Decision] = []
        self.refusals = 0

    def classified(self, decision: Decision, seconds: float) -> None:
        assert seconds >= 0
        self.decisions.append(decision)

    def refused(self) -> None:
        self.refusals += 1

    def edge_counted(self, counts: bytes) -> None:
        raise AssertionError(counts)
