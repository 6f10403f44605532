"""Counts what one process's classifier does, as Prometheus metrics.

The processes of a classifier count in shared memory, so that the server can add their figures up.
To count there costs as much as half a decision. So decisions are first tallied in plain lists, and
`FLUSH_S` later all of them are counted at once.
"""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from control_plane.classifier.authentication import Stranger, StrangerObserver
from control_plane.classifier.cache.protocol import SHARED_CACHE, CacheObserver
from control_plane.classifier.connections import ConnectionObserver, Turned
from control_plane.routing.model import Decision, Status, ToCell, Weighted

EDGE_CACHE = "edge"
"""The caches of all Envoys, as metrics name them."""
FLUSH_S = 0.1
"""How long a decision may wait until it is counted."""
_BUCKETS_S = (0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.02, 0.1)
_CACHE_COUNTS = {
    "hits": "Questions that a cache answered",
    "misses": "Questions that a cache could not answer",
    "stale": "Questions that a cache answered beyond an entry's time, since the classifier did not",
    "evictions": "Entries that made room for others",
    "misdirected": "Entries forgotten, and requests asked again if possible, since a cell said 421",
    "errors": "Times that a cache could not be read or written",
}
_EDGE_COUNTS = re.compile(
    rb"(?:(?:hits|misses|stale|evictions|misdirected|entries)=[0-9]{1,8}(?: (?!$)|$)){1,6}"
)
"""What one report may say. A worker that reports every ten seconds counts some millions."""


class DecisionObserver(CacheObserver, StrangerObserver, ConnectionObserver, Protocol):
    """Is told what the classifier does, for metrics."""

    def classified(self, decision: Decision, seconds: float) -> None:
        """Count a decision that took so many seconds."""

    def refused(self) -> None:
        """Count a question that was refused, since too many wait for the database."""

    def edge_counted(self, counts: bytes) -> None:
        """Count what an edge's cache has done, as the edge says (``hits=3 misses=1``)."""


class _BatchHistogram(Histogram):
    """A histogram that takes many observations at once."""

    def add(self, counts: Sequence[int], total: float) -> None:
        """Add so many observations to each bucket, not cumulated; ``total`` is their sum."""
        self._raise_if_not_observable()  # type: ignore[no-untyped-call]
        self._sum.inc(total)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


class _Tally:
    """The decisions of one rule and outcome since the last flush: by duration, and in all."""

    __slots__ = ("_decisions", "_seconds", "counts", "total")

    def __init__(self, seconds: _BatchHistogram, decisions: Counter) -> None:
        self._seconds = seconds
        self._decisions = decisions
        self.counts = [0] * (len(_BUCKETS_S) + 1)
        self.total = 0.0

    def flush(self) -> None:
        """Count the decisions, and begin anew."""
        decided = sum(self.counts)
        if decided:
            self._seconds.add(self.counts, self.total)
            self._decisions.inc(decided)
            self.counts = [0] * len(self.counts)
            self.total = 0.0


class ClassifierMetrics:
    """The `DecisionObserver` of one process, for use in one event loop."""

    def __init__(self, registry: CollectorRegistry) -> None:
        refused = "Questions refused since too many wait for the database"
        malformed = "Edges' counts not understood"
        self._seconds = _BatchHistogram(
            "cellway_classify_seconds",
            "Time of a decision in the classifier",
            ["tier", "outcome"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._decisions = Counter(
            "cellway_decisions_total", "Decisions", ["rule", "outcome"], registry=registry
        )
        self._refused = Counter("cellway_classifier_refused", refused, registry=registry)
        self._malformed = Counter("cellway_edge_counts_malformed", malformed, registry=registry)
        self._caches = _cache_counters(registry)
        self._port = _PortMetrics(registry)
        self._entries = Gauge(
            "cellway_cache_entries",
            "Entries of a cache, by the newest report",
            ["cache"],
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self._tallies: dict[tuple[str | None, object], _Tally] = {}
        self._flush_is_due = False

    def classified(self, decision: Decision, seconds: float) -> None:
        """Tally a decision that took so many seconds."""
        outcome = decision.outcome
        kind = outcome.code if isinstance(outcome, Status) else type(outcome)
        tally = self._tallies.get((decision.rule, kind))
        if tally is None:
            tally = self._new_tally(decision.rule, kind)
        tally.counts[bisect_left(_BUCKETS_S, seconds)] += 1
        tally.total += seconds
        if not self._flush_is_due:
            self._flush_is_due = True
            asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def refused(self) -> None:
        """Count a question that was refused, since too many wait for the database."""
        self._refused.inc()

    def edge_counted(self, counts: bytes) -> None:
        """Count what an edge's cache has done since its last message, and record its entries."""
        if not _EDGE_COUNTS.fullmatch(counts):
            self._malformed.inc()
            return
        for part in counts.decode("ascii").split():
            what, _, number = part.partition("=")
            if what == "entries":
                self._entries.labels(EDGE_CACHE).set(int(number))
            else:
                self.cache_counted(EDGE_CACHE, what, int(number))

    def stranger(self, why: Stranger, *, answered: bool) -> None:
        """Count a question without a secret that counts."""
        self._port.strangers.labels(why, "yes" if answered else "no").inc()

    def connections(self, edges: int, strangers: int) -> None:
        """Record how many connections there are."""
        self._port.connections.labels("edge").set(edges)
        self._port.connections.labels("stranger").set(strangers)

    def turned_away(self, why: Turned) -> None:
        """Count a connection that is closed before its time."""
        self._port.turned_away.labels(why).inc()

    def cache_counted(self, cache: str, what: str, number: int) -> None:
        """Count so many more of what `_CACHE_COUNTS` names."""
        self._caches[what].labels(cache).inc(number)

    def flush(self) -> None:
        """Count all decisions that were tallied."""
        self._flush_is_due = False
        for tally in self._tallies.values():
            tally.flush()

    def _new_tally(self, rule: str | None, kind: object) -> _Tally:
        """Make the tally of a rule and an outcome; there are few of either."""
        names = {ToCell: "cell", Weighted: "weighted"}
        outcome = str(kind) if isinstance(kind, int) else names[kind]  # type: ignore[index]
        tally = self._tallies[rule, kind] = _Tally(
            self._seconds.labels("classifier", outcome),
            self._decisions.labels(rule or "-", outcome),
        )
        return tally


class _PortMetrics:
    """What the classifier's port counts of those who connect to it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Make the counters, with zeros, because a rate needs a value to start from."""
        asked = "Questions without a secret of the edges, and whether they were answered"
        closed = "Connections to the classifier closed before their time"
        held = "Connections to the classifier; a stranger's has not shown the secret"
        self.strangers = Counter(
            "cellway_classifier_strangers", asked, ["why", "answered"], registry=registry
        )
        self.turned_away = Counter(
            "cellway_classifier_connections_closed", closed, ["why"], registry=registry
        )
        self.connections = Gauge(
            "cellway_classifier_connections",
            held,
            ["kind"],
            registry=registry,
            multiprocess_mode="sum",
        )
        for why in Stranger:
            self.strangers.labels(why, "no")
        for reason in Turned:
            self.turned_away.labels(reason)


def _cache_counters(registry: CollectorRegistry) -> dict[str, Counter]:
    """Make the counters of `_CACHE_COUNTS`, with a zero where alerts watch the rate.

    A rate needs a value to start from, before the first event.
    """
    counters = {
        what: Counter(f"cellway_cache_{what}", help_text, ["cache"], registry=registry)
        for what, help_text in _CACHE_COUNTS.items()
    }
    for what in ("stale", "misdirected"):
        counters[what].labels(EDGE_CACHE)
    counters["errors"].labels(SHARED_CACHE)
    return counters
