"""The listener for Prometheus: two paths of the admin interface, for GET, on loopback."""

from __future__ import annotations

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401 - in an Any
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2,
)
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2  # noqa: F401 - in an Any
from google.protobuf import json_format

from control_plane.compiler.bootstrap import FleetMember, compile_bootstrap
from control_plane.compiler.stats_listener import PATHS
from control_plane.names import ADMIN_CLUSTER, STATS_LISTENER, XDS_CLUSTER


def compiled(stats_port: int | None) -> bootstrap_pb2.Bootstrap:
    member = FleetMember("n", "g", "/run/agent.sock", "/run/admin.sock", stats_port=stats_port)
    return json_format.Parse(compile_bootstrap(member), bootstrap_pb2.Bootstrap())


def test_only_if_it_is_asked_for_envoy_is_its_own_cluster() -> None:
    assert [one.name for one in compiled(None).static_resources.clusters] == [XDS_CLUSTER]
    assert not compiled(None).static_resources.listeners
    xds, admin = compiled(0).static_resources.clusters
    for cluster, name, path in (
        (xds, XDS_CLUSTER, "/run/agent.sock"),
        (admin, ADMIN_CLUSTER, "/run/admin.sock"),
    ):
        (locality,) = cluster.load_assignment.endpoints
        (endpoint,) = locality.lb_endpoints
        assert (cluster.name, endpoint.endpoint.address.pipe.path) == (name, path)
        assert not cluster.HasField("upstream_connection_options"), "a socket has no keep-alive"


@pytest.mark.parametrize("port", [0, 9902])
def test_it_passes_two_paths_on_and_nothing_else(port: int) -> None:
    (listener,) = compiled(port).static_resources.listeners
    address = listener.address.socket_address
    assert (listener.name, address.address, address.port_value) == (
        STATS_LISTENER,
        "127.0.0.1",
        port,
    )
    assert not listener.enable_reuse_port.value
    assert listener.HasField("enable_reuse_port")
    manager = http_connection_manager_pb2.HttpConnectionManager()
    assert listener.filter_chains[0].filters[0].typed_config.Unpack(manager)
    (host,) = manager.route_config.virtual_hosts
    assert [route.match.path for route in host.routes] == list(PATHS)
    for route in host.routes:
        (method,) = route.match.headers
        assert (method.name, method.string_match.exact) == (":method", "GET")
        assert route.route.cluster == ADMIN_CLUSTER
