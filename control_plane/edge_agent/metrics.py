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


class MapMetrics:
    """The metrics of the table of owners."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._registry = registry or CollectorRegistry()
        self.live = self._gauge("live", "1 while the control plane sends the changes of the table")
        self.readers = self._gauge("readers", "Streams that are sent the table")
        self.revision = self._gauge(
            "revision", "Up to which revision the table is complete; 0: there is none"
        )
        self.names = self._gauge("names", "Names in the table when its base was made")
        self.saved_revision = self._gauge(
            "saved_revision", "Up to which revision the table on disk is complete; 0: there is none"
        )
        self.unsaved = self._gauge("unsaved", "1 while the table can't be written to disk")
        self.save_failures = self._counter("save_failures", "Writes to disk that failed")
        self.damaged = self._counter(
            "damaged", "Times that the table on disk was damaged, so that it was asked for anew"
        )
        self.torn_bytes = self._gauge(
            "torn_bytes", "Bytes at the end of the file that were torn or damaged at the start"
        )
        self.restarts = self._counter("stream_restarts", "Times that the stream began anew")
        self.refused = self._counter("refused", "Readers not taken: another node's, or too many")

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"cellway_agent_map_{name}", text, registry=self._registry)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"cellway_agent_map_{name}", text, registry=self._registry)
