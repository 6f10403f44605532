"""What is counted of decisions and caches, and when."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from control_plane.classifier import metrics
from control_plane.classifier.metrics import ClassifierMetrics
from control_plane.routing.model import Decision, Outcome, Status, ToCell, Weighted


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def counts(registry: CollectorRegistry) -> ClassifierMetrics:
    return ClassifierMetrics(registry)


def decision(outcome: Outcome, rule: str | None = "r") -> Decision:
    return Decision(outcome, rule, None, "why")


async def test_decisions_are_counted_together_and_soon(
    counts: ClassifierMetrics, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "FLUSH_S", 0.0)
    labels = {"rule": "r", "outcome": "cell"}
    for seconds in (0.00001, 0.0003, 7.0):
        counts.classified(decision(ToCell("cell-1", 1)), seconds)
    assert registry.get_sample_value("cellway_decisions_total", labels) == 0
    await asyncio.sleep(0.01)
    assert registry.get_sample_value("cellway_decisions_total", labels) == 3
    timed = {"tier": "classifier", "outcome": "cell"}
    assert registry.get_sample_value("cellway_classify_seconds_count", timed) == 3
    assert registry.get_sample_value("cellway_classify_seconds_sum", timed) == pytest.approx(
        7.00031
    )
    for bound, below in (("2e-05", 1), ("0.0005", 2), ("0.1", 2), ("+Inf", 3)):
        at_most = timed | {"le": bound}
        assert registry.get_sample_value("cellway_classify_seconds_bucket", at_most) == below


async def test_outcomes_are_told_apart_and_nothing_is_counted_twice(
    counts: ClassifierMetrics, registry: CollectorRegistry
) -> None:
    for outcome in (Status(404), Status(503), Weighted((("a", 1),)), Status(404)):
        counts.classified(decision(outcome, None), 0.001)
    counts.flush()
    counts.flush()
    counted = {
        outcome: registry.get_sample_value(
            "cellway_decisions_total", {"rule": "-", "outcome": outcome}
        )
        for outcome in ("404", "503", "weighted")
    }
    assert counted == {"404": 2, "503": 1, "weighted": 1}


def test_an_edge_s_counts_are_added_and_its_entries_set(
    counts: ClassifierMetrics, registry: CollectorRegistry
) -> None:
    counts.edge_counted(b"hits=3 misses=1 entries=40")
    counts.edge_counted(b"hits=2 entries=39")
    edge = {"cache": "edge"}
    assert registry.get_sample_value("cellway_cache_hits_total", edge) == 5
    assert registry.get_sample_value("cellway_cache_misses_total", edge) == 1
    assert registry.get_sample_value("cellway_cache_entries", edge) == 39


@pytest.mark.parametrize(
    "text", [b"", b"hits", b"hits=", b"hits=1 ", b"hits=-1", b"tea=1", b"hits=1234567890", b"\xff"]
)
def test_counts_that_are_malformed_are_only_counted(
    counts: ClassifierMetrics, registry: CollectorRegistry, text: bytes
) -> None:
    counts.edge_counted(text)
    assert registry.get_sample_value("cellway_edge_counts_malformed_total") == 1
    assert registry.get_sample_value("cellway_cache_hits_total", {"cache": "edge"}) is None


def test_what_alerts_watch_starts_from_zero(
    counts: ClassifierMetrics, registry: CollectorRegistry
) -> None:
    for what, cache in (("stale", "edge"), ("misdirected", "edge"), ("errors", "redis")):
        assert registry.get_sample_value(f"cellway_cache_{what}_total", {"cache": cache}) == 0
    counts.refused()
    assert registry.get_sample_value("cellway_classifier_refused_total") == 1
