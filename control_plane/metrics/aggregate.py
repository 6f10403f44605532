"""Counts decisions, in the server's own process and in the classifier's, and adds them up."""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from control_plane.classifier.cache.tiered import SHARED
from control_plane.routing.model import Decision, Status, ToCell, Weighted

_FAST = (0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.02, 0.1)


EDGE = "edge"
"""The caches of all Envoys, as the label of metrics has it."""
FLUSH_S = 0.1
"""How long a decision may wait until it is counted."""


_CACHE_COUNTS = {
    "hits": "Questions that a cache answered",
    "misses": "Questions that a cache could not answer",
    "stale": "Questions that a cache answered beyond an entry's time, since nobody else did",
    "evictions": "Entries that made room for others",
    "misdirected": "Entries forgotten, and requests asked again if possible, since a cell said 421",
    "errors": "Times that a cache could not be read or written",
}
_EDGE_COUNTS = re.compile(
    rb"(?:(?:hits|misses|stale|evictions|misdirected|entries)=[0-9]{1,9}(?: (?!$)|$)){1,6}"
)


class _Batched(Histogram):
    """A histogram that takes many observations at once."""

    def add(self, counts: Sequence[int], total: float) -> None:
        """Add so many observations to each bucket, not cumulated; ``total`` is their sum."""
        self._raise_if_not_observable()  # type: ignore[no-untyped-call]
        self._sum.inc(total)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


class _Tally:
    """What was decided alike since the last flush."""

    __slots__ = ("children", "counts", "total")

    def __init__(self, children: tuple[_Batched, Counter]) -> None:
        self.children = children
        self.counts = [0] * (len(_FAST) + 1)
        self.total = 0.0

    def flush(self) -> None:
        decided = sum(self.counts)
        if decided:
            histogram, counter = self.children
            histogram.add(self.counts, self.total)
            counter.inc(decided)
            self.counts = [0] * len(self.counts)
            self.total = 0.0


class ClassifierMetrics:
    """What one process's classifier has done.

    Used in one event loop. Counting in shared memory costs as much as half a decision, so it is
    done every `FLUSH_S` seconds.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._classify = _Batched(
            "cellway_classify_seconds",
            "Time of a decision in the classifier",
            ["tier", "outcome"],
            buckets=_FAST,
            registry=registry,
        )
        self._decisions = Counter(
            "cellway_decisions_total", "Decisions", ["rule", "outcome"], registry=registry
        )
        self._caches = {
            what: Counter(f"cellway_cache_{what}", help_text, ["cache"], registry=registry)
            for what, help_text in _CACHE_COUNTS.items()
        }
        # A rate needs a zero to start from: what alerts watch is there before it happens.
        for what in ("stale", "misdirected"):
            self._caches[what].labels(EDGE)
        self._caches["errors"].labels(SHARED)
        self._entries = Gauge(
            "cellway_cache_entries",
            "Entries of a cache, as the last that told has it",
            ["cache"],
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self._malformed = Counter(
            "cellway_edge_counts_malformed", "Edges' counts not understood", registry=registry
        )
        self._refused = Counter(
            "cellway_classifier_refused",
            "Questions refused since too many wait for the database",
            registry=registry,
        )
        self._tallies: dict[tuple[str | None, object], _Tally] = {}
        self._waiting = False

    def classified(self, decision: Decision, seconds: float) -> None:
        """The classifier decided."""
        outcome = decision.outcome
        kind = outcome.code if isinstance(outcome, Status) else type(outcome)
        tally = self._tallies.get((decision.rule, kind))
        if tally is None:
            tally = self._tally(decision.rule, kind)
        tally.counts[bisect_left(_FAST, seconds)] += 1
        tally.total += seconds
        if not self._waiting:
            self._waiting = True
            asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def refused(self) -> None:
        """A question was refused."""
        self._refused.inc()

    def edge_counted(self, counts: bytes) -> None:
        """An edge says what its cache did since it last said so, and how many entries it has."""
        if not _EDGE_COUNTS.fullmatch(counts):
            self._malformed.inc()
            return
        for part in counts.decode("ascii").split():
            what, _, number = part.partition("=")
            if what == "entries":
                self._entries.labels(EDGE).set(int(number))
            else:
                self.cache_counted(EDGE, what, int(number))

    def cache_counted(self, cache: str, what: str, number: int) -> None:
        """A cache had so many more of what `_CACHE_COUNTS` names (``hits``, ``misses``, ...)."""
        self._caches[what].labels(cache).inc(number)

    def flush(self) -> None:
        """Count what was decided."""
        self._waiting = False
        for tally in self._tallies.values():
            tally.flush()

    def _tally(self, rule: str | None, kind: object) -> _Tally:
        # Rules and outcomes are few.
        names = {ToCell: "cell", Weighted: "weighted"}
        outcome = str(kind) if isinstance(kind, int) else names[kind]  # type: ignore[index]
        made = _Tally(
            (
                self._classify.labels("classifier", outcome),
                self._decisions.labels(rule or "-", outcome),
            )
        )
        self._tallies[rule, kind] = made
        return made


class Together(Collector):
    """The sums over this process and over the files that the workers keep."""

    def __init__(self, own: CollectorRegistry, directory: Path | None) -> None:
        self._own = own
        self._directory = directory

    def collect(self) -> Iterator[Metric]:
        """Each metric once, whoever counted it."""
        found: list[Metric] = list(self._own.collect())
        if self._directory is not None:
            workers = MultiProcessCollector(None, str(self._directory))  # type: ignore[no-untyped-call]
            found += workers.collect()  # type: ignore[no-untyped-call]
        by_name: dict[str, list[Metric]] = {}
        for metric in found:
            by_name.setdefault(metric.name, []).append(metric)
        for metrics in by_name.values():
            yield _sum(metrics)


def _sum(metrics: list[Metric]) -> Metric:
    first = metrics[0]
    total = Metric(first.name, first.documentation, first.type)
    values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for sample in _samples(metrics):
        values[sample[:2]] = values.get(sample[:2], 0.0) + sample[2]
    for (name, labels), value in values.items():
        total.add_sample(name, dict(labels), value)
    return total


def _samples(
    metrics: Iterable[Metric],
) -> Iterator[tuple[str, tuple[tuple[str, str], ...], float]]:
    for metric in metrics:
        for sample in metric.samples:
            # The time of creation is no count, and workers don't have it.
            if not sample.name.endswith("_created"):
                yield sample.name, tuple(sorted(sample.labels.items())), sample.value
