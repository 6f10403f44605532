"""The agent's metrics, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class AgentMetrics:
    """The metrics of the relay and of the snapshots, in a registry of the agent's own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._add_streams()
        self._add_snapshots()
        self._restarts = Counter(
            "cellway_background_restarts",
            "Background tasks that failed and were started again",
            ["task"],
            registry=self.registry,
        )

    def task_started(self, name: str) -> None:
        """Show the counter of a background task before it has failed."""
        self._restarts.labels(name)

    def task_restarted(self, name: str) -> None:
        """Count a restart of a background task."""
        self._restarts.labels(name).inc()

    def _add_streams(self) -> None:
        self.streams = Gauge(
            "cellway_agent_streams",
            "Envoy's ADS streams: live (passed on), snapshot (from disk) or waiting",
            ["from"],
            registry=self.registry,
        )
        for source in ("live", "snapshot", "waiting"):
            self.streams.labels(source)
        self.refused = Counter(
            "cellway_agent_streams_refused",
            "Streams not taken: of another node, a second one, or silent",
            ["reason"],
            registry=self.registry,
        )
        for reason in ("node", "second", "silent"):
            self.refused.labels(reason)
        self.older = Counter(
            "cellway_agent_older_refused",
            "Times that the control plane was at an older revision than this edge",
            registry=self.registry,
        )

        self.tls_failures = Counter(
            "cellway_agent_tls_reload_failures",
            "TLS files that were replaced by ones that can't be used",
            registry=self.registry,
        )
        self.tls_unusable = self._gauge(
            "cellway_agent_tls_unusable",
            "1 while the TLS files can't be used as they are, and the last good ones serve",
        )

    def _add_snapshots(self) -> None:
        self.revision = self._gauge(
            "cellway_agent_snapshot_revision",
            "Revision of the newest snapshot on disk; 0: there is none",
        )
        self.saved_at = self._gauge(
            "cellway_agent_snapshot_saved_timestamp_seconds",
            "When a snapshot was last written by this agent",
        )
        self.unsaved = self._gauge(
            "cellway_agent_snapshot_unsaved", "1 while what Envoy runs can't be written to disk"
        )
        self.save_failures = Counter(
            "cellway_agent_snapshot_save_failures", "Snapshots not written", registry=self.registry
        )
        self.bad = self._gauge(
            "cellway_agent_snapshots_bad",
            "Snapshots that could not be used at the start (corrupt, other schema), for an hour",
        )

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)


class ReporterMetrics:
    """The metrics of the reporter of an Envoy's view of its endpoints."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self.reporting = Gauge(
            "cellway_agent_reporting",
            "1 while the control plane is told which endpoints Envoy holds healthy",
            registry=registry,
        )
        self.reports = Counter(
            "cellway_agent_reports", "Messages to the control plane", registry=registry
        )
        self.restarts = Counter(
            "cellway_agent_report_restarts",
            "Times that reporting began anew: Envoy or the control plane was away",
            registry=registry,
        )
