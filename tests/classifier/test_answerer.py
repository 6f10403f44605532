"""An answer is a decision or a reason: each is a whole HTTP response."""

from __future__ import annotations

from typing import Any, cast

import pytest

from control_plane.classifier.answerer import Answerer
from control_plane.classifier.decide import Decider, NoRuleset, Verdict
from control_plane.routing.model import Decision, Request, ToCell
from control_plane.topology.values import Unavailable
from tests.classifier.counts import DecisionCounts

REQUEST = Request("GET", b"h", b"/", ())
VERDICT = Verdict(Decision(ToCell("cell-1", 1), "r", None, "why"), 9, (7,), negative=False)


class Decides:
    """In place of a decider: decides, or fails."""

    def __init__(self, outcome: Verdict | Exception) -> None:
        self.outcome = outcome
        self.asked: list[tuple[Any, ...]] = []

    def decide(self, *asked: Any) -> Verdict:
        self.asked.append(asked)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    async def decide_async(self, *asked: Any) -> Verdict:
        return self.decide(*asked)


async def test_a_decision_is_counted_and_answered_in_either_way() -> None:
    decider, counts = Decides(VERDICT), DecisionCounts()
    answerer = Answerer(cast("Decider", decider), counts)
    answer = answerer.answer(REQUEST, "digest", cache=True)
    assert answer.startswith(b"HTTP/1.1 204 No Content\r\nx-cellway-answer: cell-1 r 9 60000 7")
    lookup = cast("Any", "look-up")
    assert await answerer.answer_async(lookup, REQUEST, 5, None, cache=True) == answer
    assert decider.asked == [(REQUEST, "digest"), (lookup, REQUEST, 5, None)]
    assert counts.decisions == [VERDICT.decision] * 2


@pytest.mark.parametrize(
    ("error", "reason"),
    [(NoRuleset(), b"no ruleset is active"), (Unavailable("x"), b"the database can't be read")],
)
async def test_a_failure_is_a_503_with_its_reason(error: Exception, reason: bytes) -> None:
    counts = DecisionCounts()
    answerer = Answerer(cast("Decider", Decides(error)), counts)
    answer = answerer.answer(REQUEST, None, cache=False)
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nx-cellway-error: %b\r\n\r\n" % reason in answer
    assert await answerer.answer_async(cast("Any", None), REQUEST, 5, None, cache=True) == answer
    assert counts.decisions == []
