"""Adds up the figures of all processes that count the same metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

type _Labels = tuple[tuple[str, str], ...]


class Together(Collector):
    """The sums of the figures of this process and of the workers."""

    def __init__(self, own: CollectorRegistry, worker_directory: Path | None) -> None:
        """``worker_directory`` has the files in which the workers count."""
        self._own = own
        self._worker_directory = worker_directory

    def collect(self) -> Iterator[Metric]:
        """Yield each metric once, summed over all processes that count it."""
        metrics_of_all: list[Metric] = list(self._own.collect())
        if self._worker_directory is not None:
            workers = MultiProcessCollector(None, str(self._worker_directory))  # type: ignore[no-untyped-call]
            metrics_of_all += workers.collect()  # type: ignore[no-untyped-call]
        by_name: dict[str, list[Metric]] = {}
        for metric in metrics_of_all:
            by_name.setdefault(metric.name, []).append(metric)
        for metrics in by_name.values():
            yield _sum(metrics)


def _sum(metrics: list[Metric]) -> Metric:
    """Add up metrics of one name, sample by sample."""
    first = metrics[0]
    total = Metric(first.name, first.documentation, first.type)
    values: dict[tuple[str, _Labels], float] = {}
    for sample in _samples(metrics):
        values[sample[:2]] = values.get(sample[:2], 0.0) + sample[2]
    for (name, labels), value in values.items():
        total.add_sample(name, dict(labels), value)
    return total


def _samples(metrics: Iterable[Metric]) -> Iterator[tuple[str, _Labels, float]]:
    """Yield name, labels and value of each sample."""
    for metric in metrics:
        for sample in metric.samples:
            # The time of creation is no count, and workers have none.
            if not sample.name.endswith("_created"):
                yield sample.name, tuple(sorted(sample.labels.items())), sample.value
