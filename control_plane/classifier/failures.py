"""Why a question is not answered, and what is said of it; for HTTP and gRPC alike."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from enum import Enum

from control_plane.classifier.answer import Observer
from control_plane.classifier.decide import NoRuleset, Unsettled
from control_plane.classifier.past_rulesets import UnknownRuleset
from control_plane.topology.lookup.batched import TooManyLookups
from control_plane.topology.values.errors import TopologyError

log = logging.getLogger(__name__)
LOG_S = 5.0
"""Between two lines about the database; those that are left out are counted in the next."""
FAILURES = (NoRuleset, UnknownRuleset, Unsettled, TopologyError)
"""What keeps a question from being answered and is no bug of ours."""


class Reason(Enum):
    """What the edge is told."""

    NO_RULESET = "no ruleset is active"
    UNKNOWN_RULESET = "there is no ruleset as the edge has"
    UNSETTLED = "cells or ruleset change all the time"
    NO_DATABASE = "the database can't be read"
    TOO_MANY = "too many look-ups wait for the database"


class Failures:
    """Tells the reason, counts and logs; without a database that is thousands of times a second."""

    def __init__(self, observer: Observer, clock: Callable[[], float] = time.monotonic) -> None:
        self._observer = observer
        self._clock = clock
        self._logged_at = float("-inf")
        self._silent = 0

    def reason(self, error: Exception) -> Reason:
        """The reason of one of `FAILURES`."""
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
        now = self._clock()
        if now - self._logged_at < LOG_S:
            self._silent += 1
            return
        # One line: a driver's errors have several.
        why = " ".join(str(error).split())
        log.error("a question is not answered (%d more since the last line): %s", self._silent, why)
        self._logged_at = now
        self._silent = 0
