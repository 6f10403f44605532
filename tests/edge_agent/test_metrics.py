"""The metrics that alerts and runbooks name are there before anything has happened."""

from __future__ import annotations

import pytest

from control_plane.edge_agent.metrics import AgentMetrics, MapMetrics, ReporterMetrics


@pytest.mark.parametrize("source", ["live", "snapshot", "waiting"])
def test_every_source_of_a_stream_is_counted_from_the_start(source: str) -> None:
    registry = AgentMetrics().registry
    assert registry.get_sample_value("cellway_agent_streams", {"from": source}) == 0


@pytest.mark.parametrize(
    "name",
    [
        "snapshot_revision",
        "snapshot_saved_timestamp_seconds",
        "snapshot_unsaved",
        "snapshot_save_failures_total",
        "snapshots_bad",
        "older_refused_total",
        "reporting",
        "reports_total",
        "report_restarts_total",
    ],
)
def test_an_agent_that_reports_has_all_metrics_in_one_registry(name: str) -> None:
    registry = AgentMetrics().registry
    ReporterMetrics(registry)
    assert registry.get_sample_value(f"cellway_agent_{name}") == 0


@pytest.mark.parametrize(
    "name",
    [
        "live",
        "readers",
        "revision",
        "names",
        "saved_revision",
        "unsaved",
        "save_failures_total",
        "damaged_total",
        "torn_bytes",
        "stream_restarts_total",
        "refused_total",
    ],
)
def test_the_table_of_owners_is_counted_from_the_start(name: str) -> None:
    registry = AgentMetrics().registry
    MapMetrics(registry)
    assert registry.get_sample_value(f"cellway_agent_map_{name}") == 0
