"""Encodes decisions for Envoy, as headers."""

from __future__ import annotations

import random

from control_plane.classifier.decide import Verdict
from control_plane.names import (
    ANSWER_HEADER,
    CACHE_HEADER,
    CELL_HEADER,
    CLASSIFIER_TIER,
    RULE_HEADER,
    TIER_HEADER,
    TOLD_REASONS,
    refusal,
)
from control_plane.routing.model import Decision, Status, ToCell

CACHED_MS = 60_000
"""How long the edge may keep an answer."""
NEGATIVE_CACHED_MS = 1000
"""How long the edge may keep an answer that rests on a name that nobody owns.

No epoch is raised when that name is claimed.
"""
MAX_HEADS = 4096
"""How many encoded heads of answers an encoder keeps."""
_CACHE_LINE = f"\r\n{CACHE_HEADER}: ".encode()


def answer_headers(decision: Decision) -> tuple[tuple[str, str], ...]:
    """Return the headers that Envoy routes by.

    A refusal is ``!`` and its status in place of a cell. Envoy turns it into the response, so
    that a 5xx is not taken for a dead classifier. A weighted choice is made here.
    """
    outcome = decision.outcome
    if isinstance(outcome, ToCell):
        cell = outcome.cell
    elif isinstance(outcome, Status):
        # Other reasons are not told, so that an Envoy with older routes knows these answers too.
        cell = refusal(outcome.code, outcome.reason if outcome.reason in TOLD_REASONS else "")
    else:
        names, weights = zip(*outcome.choices, strict=True)
        cell = random.choices(names, weights)[0]  # noqa: S311 - balances load, guards nothing
    return (
        (CELL_HEADER, cell),
        (RULE_HEADER, decision.rule or "-"),
        (TIER_HEADER, CLASSIFIER_TIER),
    )


class AnswerEncoder:
    """Encodes answers as whole HTTP responses, and keeps the heads that it has encoded."""

    def __init__(self) -> None:
        self._heads: dict[tuple[str, str | None, bool], bytes] = {}

    def response(self, verdict: Verdict, *, cache: bool) -> bytes:
        """Return the response to a question.

        Args:
            verdict: The answer.
            cache: Whether the edge's cache asks, and not its ext_authz filter.
        """
        decision = verdict.decision
        outcome = decision.outcome
        if verdict.held:
            # The next request for the same claim may get another answer: the edge keeps none.
            return _ENCODERS[cache](decision) + b"\r\n\r\n"
        if isinstance(outcome, ToCell):
            head = self._head((outcome.cell, decision.rule, cache), decision)
        elif isinstance(outcome, Status):
            told = outcome.reason if outcome.reason in TOLD_REASONS else ""
            head = self._head((f"!{outcome.code}{told}", decision.rule, cache), decision)
        else:
            # A weighted choice: if the edge kept the answer, all requests would go to one cell.
            return _ENCODERS[cache](decision) + b"\r\n\r\n"
        if cache:
            return head + b" " + cache_terms(verdict)
        return head + _CACHE_LINE + cache_terms(verdict)

    def _head(self, key: tuple[str, str | None, bool], decision: Decision) -> bytes:
        head = self._heads.get(key)
        if head is None:
            head = _ENCODERS[key[2]](decision)
            if len(self._heads) >= MAX_HEADS:
                self._heads.clear()
            self._heads[key] = head
        return head


def cache_terms(verdict: Verdict) -> bytes:
    """Return how long the edge may keep an answer, as a header's value and the end of the head.

    The value is ``<revision> <milliseconds> <shard>,<shard>,...``, with ``-`` for no shard. The
    edge may use the answer for that time, while the revision is neither below the floor nor below
    the epoch of one of the shards.
    """
    life_ms = NEGATIVE_CACHED_MS if verdict.negative else CACHED_MS
    if len(verdict.shards) == 1:
        return b"%d %d %d\r\n\r\n" % (verdict.revision, life_ms, verdict.shards[0])
    shards = ",".join(map(str, sorted(set(verdict.shards)))) or "-"
    return b"%d %d %s\r\n\r\n" % (verdict.revision, life_ms, shards.encode())


# The names of cells and rules are safe in a header, and have no space in them: the topology and the
# parser of rulesets make sure of that.


def _for_ext_authz(decision: Decision) -> bytes:
    lines = "".join(f"\r\n{name}: {value}" for name, value in answer_headers(decision))
    return b"HTTP/1.1 200 OK\r\ncontent-length: 0" + lines.encode("ascii")


def _for_cache(decision: Decision) -> bytes:
    (_, cell), (_, rule), _ = answer_headers(decision)
    return f"HTTP/1.1 204 No Content\r\n{ANSWER_HEADER}: {cell} {rule}".encode("ascii")


_ENCODERS = {False: _for_ext_authz, True: _for_cache}
