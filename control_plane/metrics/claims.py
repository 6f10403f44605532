"""How much is claimed, which updates are open, and how much of the ids is used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Gauge

from control_plane.topology import LeaseBacklog, SequenceUse


class ClaimMetrics:
    """The metrics of claims and of the leases under which they change."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._claims = Gauge("cellway_claims", "Claims", ["bucket"], registry=registry)
        self._leases = Gauge(
            "cellway_leases", "Updates begun and not ended", ["state"], registry=registry
        )
        self._oldest_lease = Gauge(
            "cellway_lease_oldest_seconds", "Age of the oldest open lease", registry=registry
        )

    def set_claims(self, by_bucket: Mapping[str, int]) -> None:
        """Set the number of claims of each bucket."""
        self._claims.clear()
        for bucket, number in by_bucket.items():
            self._claims.labels(bucket).set(number)

    def set_leases(self, leases: LeaseBacklog) -> None:
        """Set the number of open leases and the age of the oldest."""
        self._leases.labels("open").set(leases.open)
        self._oldest_lease.set(leases.oldest_s)


class SequenceMetrics:
    """The metrics of the ranges of ids that cells get."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._used = Gauge(
            "cellway_sequence_used_ratio",
            "Share of its ids that a cell has reported as used",
            ["cell"],
            registry=registry,
        )
        self._restored = Gauge(
            "cellway_sequences_restored",
            "1 while the database is older than the sequences' mark file",
            registry=registry,
        )

    def set_sequences(self, uses: Iterable[SequenceUse], *, restored: bool) -> None:
        """Set the share that each cell has used, and whether the database was put back in time."""
        self._used.clear()
        for use in uses:
            self._used.labels(use.cell).set(use.share)
        self._restored.set(restored)
