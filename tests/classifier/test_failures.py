"""Why a request can't be decided: each error has its reason, and the log gets few lines."""

from __future__ import annotations

import logging

import pytest

from control_plane.classifier.decide import NoRuleset, Unsettled
from control_plane.classifier.failures import FAILURES, Failures, Reason
from control_plane.classifier.log_pause import LOG_S
from control_plane.classifier.past_rulesets import UnknownRuleset
from control_plane.topology.lookup import TooManyLookups
from control_plane.topology.values import DatabaseFailed, Unavailable
from tests.classifier.counts import DecisionCounts


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NoRuleset(), Reason.NO_RULESET),
        (UnknownRuleset("0" * 16), Reason.UNKNOWN_RULESET),
        (Unsettled(), Reason.UNSETTLED),
        (TooManyLookups(), Reason.TOO_MANY),
        (Unavailable("gone"), Reason.NO_DATABASE),
        (DatabaseFailed("full"), Reason.NO_DATABASE),
    ],
)
def test_each_error_has_its_reason(error: Exception, reason: Reason) -> None:
    counts = DecisionCounts()
    assert isinstance(error, FAILURES)
    assert Failures(counts).reason(error) is reason
    assert counts.refusals == (reason is Reason.TOO_MANY)


def test_what_was_left_out_is_in_the_next_line(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    failures = Failures(DecisionCounts(), lambda: now)
    for _ in range(8):
        assert failures.reason(Unavailable("gone\naway")) is Reason.NO_DATABASE
    now += LOG_S
    failures.reason(Unavailable("still"))
    assert [one.levelno for one in caplog.records] == [logging.ERROR] * 2
    first, second = (one.getMessage() for one in caplog.records)
    assert "(0 more since the last line): the database is unavailable: gone away" in first
    assert "(7 more since the last line)" in second
