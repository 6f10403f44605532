"""The bootstrap of a fleet member: where its control plane is, and which stats it keeps.

It is written once per Envoy, so with envoy-data-plane's dataclasses; all else comes over xDS.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address

from envoy_data_plane.envoy.config.bootstrap import v3 as bootstrap
from envoy_data_plane.envoy.config.cluster import v3 as cluster
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.endpoint import v3 as endpoint
from envoy_data_plane.envoy.config.metrics import v3 as metrics
from envoy_data_plane.envoy.extensions.upstreams.http import v3 as upstream_http
from envoy_data_plane.envoy.type.matcher import v3 as matcher
from envoy_data_plane.google.protobuf import Any as AnyMessage
from envoy_data_plane.google.protobuf import Struct

from control_plane.compiler.authoring import authored
from control_plane.compiler.member_tls import MemberTls, transport_socket
from control_plane.compiler.socket_address import SocketAddress, envoy_address
from control_plane.compiler.stats_listener import admin_cluster, stats_listener
from control_plane.names import (
    EDGE_MODULE_VERSION,
    MODULE_METADATA,
    NODE_METADATA,
    XDS_CLUSTER,
)

KEPT_STATS = (
    "control_plane.",
    "cluster_manager.",
    "listener_manager.",
    "server.",
    "http.edge.downstream_rq",
    "http.edge.downstream_cx",
    "http.edge.rds.",
    "http.edge.ext_authz.",
    "cluster.cellway",
    "dynamicmodulescustom.cellway_edge_",
)
"""Prefixes of the stats that are kept; of a cell, only those of `KEPT_CELL_STATS` are."""
KEPT_CELL_STATS = (
    r"cluster\.[a-z0-9-]+\."
    r"(upstream_rq_(total|active|timeout|pending_overflow|retry)|upstream_cx_connect_fail"
    r"|membership_(healthy|total)|endpoint\..*\.rq_(success|error|total))"
)
"""A cell's cluster has its name in stats. Good and bad answers are counted by endpoint."""

_FEATURES = ("strict_chunk_parsing", "re2_use_latin1_mode")


@dataclass(frozen=True, slots=True)
class FleetMember:
    """What one Envoy's bootstrap has of its own."""

    node_id: str
    group: str
    xds: SocketAddress
    """Where its control plane is, or its agent."""
    admin: SocketAddress
    """Where its admin interface listens."""
    delta: bool = True
    """Whether it speaks delta xDS, or state of the world."""
    tls: MemberTls | None = None
    module: str = ""
    """The file of the module on its machine; empty: it has none, or is not to use it."""
    stats_port: int | None = None
    """A loopback port that shows `stats_listener.PATHS` alone; None: there is none."""


@authored
def compile_bootstrap(member: FleetMember) -> str:
    """Return the bootstrap as JSON."""
    aggregated = core.ConfigSource(
        ads=core.AggregatedConfigSource(), resource_api_version=core.ApiVersion.V3
    )
    document = bootstrap.Bootstrap(
        node=core.Node(id=member.node_id, cluster=member.group, metadata=_metadata(member)),
        admin=bootstrap.Admin(address=envoy_address(member.admin)),
        dynamic_resources=bootstrap.BootstrapDynamicResources(
            ads_config=_ads(member), cds_config=aggregated, lds_config=aggregated
        ),
        layered_runtime=_runtime(),
        static_resources=_static(member),
        # A thousand cells' traffic stats, made at once, cost each request some cache misses: 3 %.
        deferred_stat_options=bootstrap.BootstrapDeferredStatOptions(
            enable_deferred_creation_stats=True
        ),
        stats_config=_stats(),
    )
    return json.dumps(json.loads(document.to_json()), indent=2, sort_keys=True)


def _metadata(member: FleetMember) -> Struct | None:
    """Say that the node has the module, and which file: another one is another bootstrap."""
    if not member.module:
        return None
    own = {MODULE_METADATA: EDGE_MODULE_VERSION, "file": member.module}
    metadata: Struct = Struct.from_dict({NODE_METADATA: own})
    return metadata


def _static(member: FleetMember) -> bootstrap.BootstrapStaticResources:
    if member.stats_port is None:
        return bootstrap.BootstrapStaticResources(clusters=[_xds_cluster(member)])
    return bootstrap.BootstrapStaticResources(
        listeners=[stats_listener(member.stats_port)],
        clusters=[_xds_cluster(member), admin_cluster(member.admin)],
    )


def _ads(member: FleetMember) -> core.ApiConfigSource:
    """Return the one stream over which all resources come."""
    api_types = core.ApiConfigSourceApiType
    service = core.GrpcService(
        envoy_grpc=core.GrpcServiceEnvoyGrpc(cluster_name=XDS_CLUSTER, retry_policy=_reconnect())
    )
    return core.ApiConfigSource(
        api_type=api_types.DELTA_GRPC if member.delta else api_types.GRPC,
        transport_api_version=core.ApiVersion.V3,
        grpc_services=[service],
        set_node_on_first_message_only=True,
    )


def _stats() -> metrics.StatsConfig:
    """Keep a few stats only: Envoy has many series for each cell."""
    patterns = [matcher.StringMatcher(prefix=prefix) for prefix in KEPT_STATS]
    of_cells = matcher.StringMatcher(safe_regex=matcher.RegexMatcher(regex=KEPT_CELL_STATS))
    kept = matcher.ListStringMatcher(patterns=[*patterns, of_cells])
    return metrics.StatsConfig(stats_matcher=metrics.StatsMatcher(inclusion_list=kept))


def _reconnect() -> core.RetryPolicy:
    """Find a control plane that is back within seconds; Envoy's own bound is 30 s."""
    back_off = core.BackoffStrategy(
        base_interval=timedelta(milliseconds=200), max_interval=timedelta(seconds=3)
    )
    return core.RetryPolicy(retry_back_off=back_off)


def _runtime() -> bootstrap.LayeredRuntime:
    """Turn on what cellway relies on, whatever Envoy's version has as its default.

    A chunk's end that is no CRLF is refused, as RFC 9112 section 7.1 says. Regexes see bytes, as
    those of `control_plane.routing.rules.regex` do.
    """
    flags = {f"envoy.reloadable_features.{name}": True for name in _FEATURES}
    layer = bootstrap.RuntimeLayer(name="cellway", static_layer=Struct.from_dict(flags))
    return bootstrap.LayeredRuntime(layers=[layer])


def _xds_cluster(member: FleetMember) -> cluster.Cluster:
    target = endpoint.LbEndpoint(endpoint=endpoint.Endpoint(address=envoy_address(member.xds)))
    pings = core.TcpKeepalive(keepalive_probes=3, keepalive_time=30, keepalive_interval=5)
    is_local = isinstance(member.xds, str)
    return cluster.Cluster(
        name=XDS_CLUSTER,
        type=_discovery(member.xds),
        # Of a name with both, the control plane may listen on one family only.
        dns_lookup_family=cluster.ClusterDnsLookupFamily.ALL,
        connect_timeout=timedelta(seconds=2),
        transport_socket=None if member.tls is None else transport_socket(member.tls),
        typed_extension_protocol_options={
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": AnyMessage.pack(_http2())
        },
        load_assignment=endpoint.ClusterLoadAssignment(
            cluster_name=XDS_CLUSTER,
            endpoints=[endpoint.LocalityLbEndpoints(lb_endpoints=[target])],
        ),
        upstream_connection_options=(
            None if is_local else cluster.UpstreamConnectionOptions(tcp_keepalive=pings)
        ),
    )


def _http2() -> upstream_http.HttpProtocolOptions:
    """Use HTTP/2, with pings that tell of a half-open connection before the next change would."""
    keepalive = core.KeepaliveSettings(interval=timedelta(seconds=30), timeout=timedelta(seconds=5))
    return upstream_http.HttpProtocolOptions(
        explicit_http_config=upstream_http.HttpProtocolOptionsExplicitHttpConfig(
            http2_protocol_options=core.Http2ProtocolOptions(connection_keepalive=keepalive)
        )
    )


def _discovery(where: SocketAddress) -> cluster.ClusterDiscoveryType:
    """Tell how Envoy finds the control plane: an address needs no DNS, which may know no IPv6."""
    if isinstance(where, str):
        return cluster.ClusterDiscoveryType.STATIC
    try:
        ip_address(where[0])
    except ValueError:
        return cluster.ClusterDiscoveryType.STRICT_DNS
    return cluster.ClusterDiscoveryType.STATIC
