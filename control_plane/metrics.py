"""Prometheus metrics under the names that dashboards and alerts use."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from control_plane.routing.model import Decision, Status, ToCell
from control_plane.xds.fleet import Fleet

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_FAST = (0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.02, 0.1)
STATES = ("SYNCED", "STALE", "NACKED", "NOT_SENT", "DISCONNECTED")


class Metrics:
    """The process's metrics, and the observers that feed them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.registry = CollectorRegistry()
        self.revision = Gauge(
            "cellway_revision", "Newest published revision", registry=self.registry
        )
        self._nodes = Gauge(
            "cellway_fleet_nodes", "Envoys by state", ["state"], registry=self.registry
        )
        self._nacks = Counter(
            "cellway_xds_nacks_total", "Resources refused", ["type"], registry=self.registry
        )
        self._classify = Histogram(
            "cellway_classify_seconds",
            "Time of a decision in the classifier",
            ["tier", "outcome"],
            buckets=_FAST,
            registry=self.registry,
        )
        self._decisions = Counter(
            "cellway_decisions_total", "Decisions", ["rule", "outcome"], registry=self.registry
        )
        self._claims = Gauge("cellway_claims", "Claims", ["bucket"], registry=self.registry)
        self._propagation = Histogram(
            "cellway_propagation_seconds",
            "Publication to acknowledgement by a node",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._by_decision: dict[tuple[str, str], tuple[Histogram, Counter]] = {}
        self._published_at: dict[int, float] = {}
        self._last_acked = 0

    def published(self, revision: int) -> None:
        """A revision went out to the fleet."""
        self.revision.set(revision)
        self._published_at = {revision: self._clock()}

    def acked(self, revision: int) -> None:
        """A node runs everything up to this revision."""
        at = self._published_at.get(revision)
        if at is not None and revision > self._last_acked:
            self._last_acked = revision
            self._propagation.observe(self._clock() - at)

    def nacked(self, type_url: str) -> None:
        """A node refused resources of this type."""
        self._nacks.labels(type_url.rpartition(".")[2]).inc()

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

    def render(self, fleet: Fleet, claims: dict[str, int]) -> bytes:
        """The text for Prometheus, with gauges as of now."""
        nodes = fleet.nodes()
        for state in STATES:
            self._nodes.labels(state).set(sum(node.state == state for node in nodes))
        for bucket, number in claims.items():
            self._claims.labels(bucket).set(number)
        return generate_latest(self.registry)
