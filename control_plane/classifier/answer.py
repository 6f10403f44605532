"""What the classifier tells Envoy: a decision as headers."""

from __future__ import annotations

import random
from typing import Protocol

from control_plane.classifier.decide import Verdict
from control_plane.names import (
    ANSWER_HEADER,
    CACHE_HEADER,
    CELL_HEADER,
    RULE_HEADER,
    TIER_HEADER,
    refusal,
)
from control_plane.routing.model import Decision, Status, ToCell

TIER = "classifier"
KEPT_MS = 60_000
NEGATIVE_KEPT_MS = 1000
"""An answer that rests on a name being nobody's, which no epoch tells of when it is claimed."""
_CACHE_LINE = f"\r\n{CACHE_HEADER}: ".encode()


class Observer(Protocol):
    """Is told of each decision, for metrics."""

    def classified(self, decision: Decision, seconds: float) -> None:
        """A request was decided in this many seconds."""

    def refused(self) -> None:
        """A question was refused, since too many wait for the database."""

    def cache_counted(self, cache: str, what: str, number: int) -> None:
        """A cache had so many ``hits``, ``misses``, ``stale``, ``evictions``, ``errors`` more."""

    def edge_counted(self, counts: bytes) -> None:
        """An edge says what its cache did (the value of `x-cellway-edge-counts`)."""


def answer_headers(decision: Decision) -> tuple[tuple[str, str], ...]:
    """The headers that Envoy routes by.

    A refusal is "!" and its status: Envoy turns it into the response, so that a 5xx is not taken
    for a dead classifier. A weighted choice is made here.
    """
    outcome = decision.outcome
    if isinstance(outcome, ToCell):
        cell = outcome.cell
    elif isinstance(outcome, Status):
        cell = refusal(outcome.code)
    else:
        names, weights = zip(*outcome.choices, strict=True)
        cell = random.choices(names, weights)[0]  # noqa: S311 - balances load, guards nothing
    return ((CELL_HEADER, cell), (RULE_HEADER, decision.rule or "-"), (TIER_HEADER, TIER))


MAX_KEPT = 4096
"""Encoded answers that are remembered."""


class Answers:
    """Encodes answers as whole HTTP responses; each head once."""

    def __init__(self) -> None:
        self._heads: dict[tuple[str | int, str | None, bool], bytes] = {}

    def response(self, verdict: Verdict, *, cache: bool) -> bytes:
        """The response to a question, of an edge's ``cache`` or of its ext_authz filter."""
        decision = verdict.decision
        outcome = decision.outcome
        if isinstance(outcome, ToCell):
            head = self._head((outcome.cell, decision.rule, cache), decision)
        elif isinstance(outcome, Status):
            head = self._head((outcome.code, decision.rule, cache), decision)
        else:
            # Chosen by lot: to keep it would take the lot away.
            return _HEADS[cache](decision) + b"\r\n\r\n"
        if cache:
            return head + b" " + cacheable(verdict)
        return head + _CACHE_LINE + cacheable(verdict)

    def _head(self, key: tuple[str | int, str | None, bool], decision: Decision) -> bytes:
        kept = self._heads.get(key)
        if kept is None:
            kept = _HEADS[key[2]](decision)
            if len(self._heads) >= MAX_KEPT:
                self._heads.clear()
            self._heads[key] = kept
        return kept


def cacheable(verdict: Verdict) -> bytes:
    """How long the edge may keep an answer (a header's value), and the end of the head.

    It may be used while its revision is neither below the floor nor below the epoch of one of its
    shards, and never longer than its time.
    """
    kept = NEGATIVE_KEPT_MS if verdict.negative else KEPT_MS
    if len(verdict.shards) == 1:
        return b"%d %d %d\r\n\r\n" % (verdict.revision, kept, verdict.shards[0])
    shards = ",".join(map(str, sorted(set(verdict.shards)))) or "-"
    return b"%d %d %s\r\n\r\n" % (verdict.revision, kept, shards.encode())


# The topology and the parser see to it that names of cells and rules are safe in a header, and
# that there is no space in them.


def _for_ext_authz(decision: Decision) -> bytes:
    lines = "".join(f"\r\n{name}: {value}" for name, value in answer_headers(decision))
    return b"HTTP/1.1 200 OK\r\ncontent-length: 0" + lines.encode("ascii")


def _for_cache(decision: Decision) -> bytes:
    (_, cell), (_, rule), _ = answer_headers(decision)
    return f"HTTP/1.1 204 No Content\r\n{ANSWER_HEADER}: {cell} {rule}".encode("ascii")


_HEADS = {False: _for_ext_authz, True: _for_cache}
