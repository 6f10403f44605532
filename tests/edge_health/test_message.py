"""A message names a node, is a report, or is refused; nothing in it gets past the port's guard."""

from __future__ import annotations

import pytest
from envoy.service.health.v3 import hds_pb2

from control_plane.edge_health import message as module
from control_plane.edge_health.message import ReportMessage
from control_plane.edge_health.report import NO_CLUSTERS, BadReport, apply_report
from tests.support.health_messages import HEALTHY, hello, report


def test_a_message_names_a_node_or_reports_and_never_both() -> None:
    named = ReportMessage(hello("n", "g"))
    assert (named.HasField("node"), named.node.id, named.node.cluster) == (True, "n", "g")
    assert not ReportMessage(report(a=[HEALTHY])).HasField("node")
    # protobuf lets the last field of a oneof win: neither order smuggles a node past the guard.
    hidden = ReportMessage(report(a=[HEALTHY]) + hello("other"))
    assert not hidden.HasField("node")
    with pytest.raises(BadReport, match="both"):
        apply_report(NO_CLUSTERS, hidden.payload)
    assert ReportMessage(hello("other") + report(a=[HEALTHY])).broken
    assert ReportMessage(
        hds_pb2.HealthCheckRequestOrEndpointHealthResponse().SerializeToString()
    ).broken
    request = hds_pb2.HealthCheckRequestOrEndpointHealthResponse()
    request.health_check_request.SetInParent()
    assert ReportMessage(request.SerializeToString()).broken == "names no node"


def test_a_message_that_is_too_long_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_MESSAGE_BYTES", 10)
    assert "at most 10" in ReportMessage(report(a=[HEALTHY] * 5)).broken
    assert "at most 10" in ReportMessage(hello("a-long-name")).broken
