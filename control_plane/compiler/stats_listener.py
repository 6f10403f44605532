"""A listener of the bootstrap that shows Envoy's stats, and nothing else of the admin interface.

Whoever reaches the whole admin interface can end Envoy, and read the configuration with its
secrets. Prometheus needs one page of it. So Envoy itself passes two paths on to its admin socket,
for GET alone.
"""

from __future__ import annotations

from datetime import timedelta

from envoy_data_plane.envoy.config.cluster import v3 as cluster
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.endpoint import v3 as endpoint
from envoy_data_plane.envoy.config.listener import v3 as listener
from envoy_data_plane.envoy.config.route import v3 as route
from envoy_data_plane.envoy.extensions.filters.http.router import v3 as router
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from envoy_data_plane.envoy.type.matcher import v3 as matcher
from envoy_data_plane.google.protobuf import Any as AnyMessage

from control_plane.compiler.socket_address import SocketAddress, envoy_address
from control_plane.names import ADMIN_CLUSTER, STATS_LISTENER

PATHS = ("/stats/prometheus", "/ready")
ANSWER_S = 15
IDLE_S = 120
"""Longer than the usual interval of a scrape, so that its connection is kept."""


def stats_listener(port: int) -> listener.Listener:
    """Return the listener on a loopback port; 0: any free one."""
    manager = hcm.HttpConnectionManager(
        stat_prefix="stats",
        route_config=_routes(),
        http_filters=[
            hcm.HttpFilter(
                name="envoy.filters.http.router", typed_config=AnyMessage.pack(router.Router())
            )
        ],
        normalize_path=True,
        common_http_protocol_options=core.HttpProtocolOptions(
            idle_timeout=timedelta(seconds=IDLE_S)
        ),
        request_headers_timeout=timedelta(seconds=5),
        request_timeout=timedelta(seconds=5),
        stream_idle_timeout=timedelta(seconds=ANSWER_S),
    )
    chain = listener.FilterChain(
        filters=[
            listener.Filter(
                name="envoy.filters.network.http_connection_manager",
                typed_config=AnyMessage.pack(manager),
            )
        ]
    )
    return listener.Listener(
        name=STATS_LISTENER,
        address=envoy_address(("127.0.0.1", port)),
        filter_chains=[chain],
        # One socket for all workers: a second Envoy can't take a share of the port.
        enable_reuse_port=False,
    )


def admin_cluster(admin: SocketAddress) -> cluster.Cluster:
    """Return the cluster that is this Envoy's own admin interface."""
    target = endpoint.LbEndpoint(endpoint=endpoint.Endpoint(address=envoy_address(admin)))
    return cluster.Cluster(
        name=ADMIN_CLUSTER,
        type=cluster.ClusterDiscoveryType.STATIC,
        connect_timeout=timedelta(seconds=2),
        load_assignment=endpoint.ClusterLoadAssignment(
            cluster_name=ADMIN_CLUSTER,
            endpoints=[endpoint.LocalityLbEndpoints(lb_endpoints=[target])],
        ),
    )


def _routes() -> route.RouteConfiguration:
    only_get = route.HeaderMatcher(name=":method", string_match=matcher.StringMatcher(exact="GET"))
    to_admin = route.RouteAction(cluster=ADMIN_CLUSTER, timeout=timedelta(seconds=ANSWER_S))
    routes = [
        route.Route(match=route.RouteMatch(path=path, headers=[only_get]), route=to_admin)
        for path in PATHS
    ]
    host = route.VirtualHost(name="stats", domains=["*"], routes=routes)
    return route.RouteConfiguration(name="stats", virtual_hosts=[host])
