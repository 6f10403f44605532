"""Answers questions over HTTP: decides, and encodes the answer or the reason why there is none."""

from __future__ import annotations

import time

from control_plane import names
from control_plane.classifier.answer import AnswerEncoder
from control_plane.classifier.cache.tiered import CachedLookup
from control_plane.classifier.decide import Decider, Verdict
from control_plane.classifier.failures import FAILURES, Failures, Reason
from control_plane.classifier.metrics import DecisionObserver
from control_plane.routing.model import Request


def unable(why: str) -> bytes:
    """Return the response of a classifier that can't decide now."""
    return _refusal("503 Service Unavailable", why)


def forbidden(why: str) -> bytes:
    """Return the response to a question that is no edge's, after which the connection is closed."""
    return _refusal("403 Forbidden\r\nconnection: close", why)


def _refusal(status: str, why: str) -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-length: 0"
    return f"{head}\r\n{names.ERROR_HEADER}: {why}\r\n\r\n".encode("ascii", "replace")


_UNABLE = {reason: unable(reason.value) for reason in Reason}


class Answerer:
    """Answers the questions of all connections of a server."""

    def __init__(
        self, decider: Decider, observer: DecisionObserver, lookup: CachedLookup | None = None
    ) -> None:
        """With ``lookup``, use `answer_async`; without, ``decider`` looks claims up itself."""
        self.lookup = lookup
        self.observer = observer
        self._decider = decider
        self._failures = Failures(observer)
        self._encoder = AnswerEncoder()

    def answer(self, request: Request, digest: str | None, *, cache: bool) -> bytes:
        """Return the whole response to a question. Blocks while the database is read.

        Args:
            request: The client's request.
            digest: The digest of the ruleset to decide by; None for the active one.
            cache: Whether the edge's cache asks, and not its ext_authz filter.
        """
        started = time.perf_counter()
        try:
            verdict = self._decider.decide(request, digest)
        except FAILURES as error:
            return _UNABLE[self._failures.reason(error)]
        return self._encoded(verdict, started, cache=cache)

    async def answer_async(
        self,
        lookup: CachedLookup,
        request: Request,
        at_least: int | None,
        digest: str | None,
        *,
        cache: bool,
    ) -> bytes:
        """Return the same without blocking; see `Decider.decide_async`."""
        started = time.perf_counter()
        try:
            verdict = await self._decider.decide_async(lookup, request, at_least, digest)
        except FAILURES as error:
            return _UNABLE[self._failures.reason(error)]
        return self._encoded(verdict, started, cache=cache)

    def _encoded(self, verdict: Verdict, started: float, *, cache: bool) -> bytes:
        response = self._encoder.response(verdict, cache=cache)
        self.observer.classified(verdict.decision, time.perf_counter() - started)
        return response
