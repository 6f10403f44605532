"""Metrics of claims, of open leases, and of how far cells have used their ids."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from control_plane.metrics.catalogue import gauge
from control_plane.topology.values.move import MoveState


class ClaimMetrics:
    """The metrics of claims and of the leases under which they change."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._claims = gauge(registry, "cellway_claims", "bucket")
        self._leases = gauge(registry, "cellway_leases", "state")
        self._moves = gauge(registry, "cellway_moves", "state")
        self._oldest_lease = gauge(registry, "cellway_lease_oldest_seconds")

    def set_claims(self, by_bucket: Mapping[str, int]) -> None:
        """Set the number of claims of each bucket."""
        self._claims.clear()
        for bucket, number in by_bucket.items():
            self._claims.labels(bucket).set(number)

    def set_leases(self, number: int, oldest_s: float) -> None:
        """Set the number of open leases and the age of the oldest."""
        self._leases.labels("open").set(number)
        self._oldest_lease.set(oldest_s)

    def set_moves(self, by_state: Mapping[str, int]) -> None:
        """Set the number of moves in each state."""
        for state in MoveState:
            self._moves.labels(str(state)).set(by_state.get(str(state), 0))


class SequenceMetrics:
    """The metrics of the ranges of ids that cells get."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._used = gauge(registry, "cellway_sequence_used_ratio", "cell")
        self._restored = gauge(registry, "cellway_sequences_restored")

    def set_sequences(self, shares: Mapping[str, float], *, restored: bool) -> None:
        """Set the share that each cell has used, and whether the database was restored."""
        self._used.clear()
        for cell, share in shares.items():
            self._used.labels(cell).set(share)
        self._restored.set(restored)
