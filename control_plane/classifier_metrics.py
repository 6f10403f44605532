"""Counts decisions, in the server's own process and in the classifier's, and adds them up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from control_plane.routing.model import Decision, Status, ToCell

_FAST = (0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.02, 0.1)


class ClassifierMetrics:
    """What one process's classifier has done."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._classify = Histogram(
            "cellway_classify_seconds",
            "Time of a decision in the classifier",
            ["tier", "outcome"],
            buckets=_FAST,
            registry=registry,
        )
        self._decisions = Counter(
            "cellway_decisions_total", "Decisions", ["rule", "outcome"], registry=registry
        )
        self._by_decision: dict[tuple[str, str], tuple[Histogram, Counter]] = {}

    def classified(self, decision: Decision, seconds: float) -> None:
        """The classifier decided."""
        outcome = "weighted"
        if isinstance(decision.outcome, ToCell):
            outcome = "cell"
        elif isinstance(decision.outcome, Status):
            outcome = str(decision.outcome.code)
        key = (decision.rule or "-", outcome)
        children = self._by_decision.get(key)
        if children is None:
            # Looking children up by label takes longer than counting; rules and outcomes are few.
            children = (
                self._classify.labels("classifier", outcome),
                self._decisions.labels(*key),
            )
            self._by_decision[key] = children
        children[0].observe(seconds)
        children[1].inc()


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
