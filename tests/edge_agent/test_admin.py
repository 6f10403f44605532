"""How the answers of Envoy's admin interface are read."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.edge_agent.admin import AdminError, Cluster, clusters_of, gauges_of
from tests.support.health_messages import DEGRADED, HEALTHY, UNHEALTHY, UNKNOWN


def host(**flags: Any) -> dict[str, Any]:
    address = {"socket_address": {"address": "10.0.0.1", "port_value": 80}}
    return {"address": address, "health_status": {"eds_health_status": "HEALTHY"} | flags}


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        ({}, HEALTHY),
        ({"failed_active_health_check": True}, UNHEALTHY),
        ({"failed_outlier_check": True}, UNHEALTHY),
        ({"eds_health_status": "UNHEALTHY"}, UNHEALTHY),
        ({"eds_health_status": "DRAINING"}, UNHEALTHY),
        ({"failed_active_degraded_check": True}, DEGRADED),
        ({"failed_active_health_check": True, "pending_active_hc": True}, UNKNOWN),
        ({"pending_dynamic_removal": True}, HEALTHY),
    ],
)
def test_a_hosts_flags_are_one_status(flags: dict[str, Any], status: int) -> None:
    answer = {
        "cluster_statuses": [
            {
                "name": "cell:a",
                "observability_name": "a",
                "added_via_api": True,
                "host_statuses": [host(**flags)],
            },
            {"name": "cellway:xds"},
        ]
    }
    assert clusters_of(answer) == {
        "cell:a": Cluster("a", (("10.0.0.1", 80, status),), True),
        "cellway:xds": Cluster("cellway_xds", (), False),
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["cluster_statuses", "stats", "name", "host_statuses", "address",
                         "health_status", "socket_address", "port_value", "value"]), inner),
    max_leaves=12,
)  # fmt: skip


@given(JSON)
def test_answers_that_are_not_envoys_are_an_error_and_nothing_else(answer: Any) -> None:
    for read in (clusters_of, gauges_of):
        with contextlib.suppress(AdminError):
            read(answer)
