"""The reasons why a request can't be decided, for the edge, the metrics and the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from enum import Enum

from control_plane.classifier.decide import NoRuleset, Unsettled
from control_plane.classifier.log_pause import LogPause
from control_plane.classifier.metrics import DecisionObserver
from control_plane.classifier.past_rulesets import UnknownRuleset
from control_plane.topology.lookup.batched import TooManyLookups
from control_plane.topology.values import TopologyError

log = logging.getLogger(__name__)
FAILURES = (NoRuleset, UnknownRuleset, Unsettled, TopologyError)
"""The errors that keep a request from being decided and are no bugs of ours."""


class Reason(Enum):
    """Why a request can't be decided, as the edge is told."""

    NO_RULESET = "no ruleset is active"
    UNKNOWN_RULESET = "there is no ruleset with the digest that the edge names"
    UNSETTLED = "cells or ruleset change all the time"
    NO_DATABASE = "the database can't be read"
    TOO_MANY = "too many look-ups wait for the database"


class Failures:
    """Finds the reason of errors, counts them and logs them.

    Without a database there are thousands of them a second, so they are logged with `LogPause`.
    """

    def __init__(
        self, observer: DecisionObserver, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._observer = observer
        self._pause = LogPause(clock)

    def reason(self, error: Exception) -> Reason:
        """Return the reason of one of `FAILURES`; count it or log it."""
        if isinstance(error, NoRuleset):
            return Reason.NO_RULESET
        if isinstance(error, UnknownRuleset):
            return Reason.UNKNOWN_RULESET
        if isinstance(error, Unsettled):
            return Reason.UNSETTLED
        if isinstance(error, TooManyLookups):
            self._observer.refused()
            return Reason.TOO_MANY
        self._log(error)
        return Reason.NO_DATABASE

    def _log(self, error: Exception) -> None:
        left_out = self._pause.left_out()
        if left_out is None:
            return
        # A driver's errors have several lines.
        why = " ".join(str(error).split())
        text = "a request can't be decided (%d more since the last line): %s"
        log.error(text, left_out, why)
