"""The bootstrap of a fleet member: where its control plane is, and which stats it keeps."""

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
from envoy_data_plane.envoy.extensions.transport_sockets.tls import v3 as tls
from envoy_data_plane.envoy.extensions.upstreams.http import v3 as upstream_http
from envoy_data_plane.envoy.type.matcher import v3 as matcher
from envoy_data_plane.google.protobuf import Any as AnyMessage
from envoy_data_plane.google.protobuf import Struct

from control_plane.names import XDS_CLUSTER

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
)
"""Prefixes; per-cell series are limited to the few in `KEPT_CELL_STATS`."""
KEPT_CELL_STATS = (
    r"cluster\.[a-z0-9-]+\."
    r"(upstream_rq_(total|active|timeout|pending_overflow|retry)|upstream_cx_connect_fail"
    r"|membership_(healthy|total)|endpoint\..*\.rq_(success|error|total))"
)
"""A cell's clusters are named for it. Good and bad answers are counted by endpoint."""

_FEATURES = ("strict_chunk_parsing", "re2_use_latin1_mode")


@dataclass(frozen=True, slots=True)
class MemberTls:
    """Files (PEM) with which an Envoy shows who it is, and by which it knows its control plane.

    The certificate names it as ``spiffe://cellway/node/<group>/<node id>``; ``server_name`` is a
    DNS name in the control plane's.
    """

    certificate: str
    key: str
    ca: str
    server_name: str


@dataclass(frozen=True, slots=True)
class FleetMember:
    """What distinguishes one Envoy."""

    node_id: str
    group: str
    xds_host: str
    xds_port: int
    admin_port: int
    delta: bool = True
    tls: MemberTls | None = None


def compile_bootstrap(member: FleetMember) -> str:
    """The bootstrap as JSON."""
    api_type = (
        core.ApiConfigSourceApiType.DELTA_GRPC if member.delta else core.ApiConfigSourceApiType.GRPC
    )
    ads = core.ApiConfigSource(
        api_type=api_type,
        transport_api_version=core.ApiVersion.V3,
        grpc_services=[
            core.GrpcService(
                envoy_grpc=core.GrpcServiceEnvoyGrpc(
                    cluster_name=XDS_CLUSTER, retry_policy=_reconnect()
                )
            )
        ],
        set_node_on_first_message_only=True,
    )
    aggregated = core.ConfigSource(
        ads=core.AggregatedConfigSource(), resource_api_version=core.ApiVersion.V3
    )
    document = bootstrap.Bootstrap(
        node=core.Node(id=member.node_id, cluster=member.group),
        admin=bootstrap.Admin(address=_address("127.0.0.1", member.admin_port)),
        dynamic_resources=bootstrap.BootstrapDynamicResources(
            ads_config=ads, cds_config=aggregated, lds_config=aggregated
        ),
        layered_runtime=_runtime(),
        static_resources=bootstrap.BootstrapStaticResources(clusters=[_xds_cluster(member)]),
        # A thousand cells' traffic stats, made at once, cost each request some cache misses: 3 %.
        deferred_stat_options=bootstrap.BootstrapDeferredStatOptions(
            enable_deferred_creation_stats=True
        ),
        stats_config=metrics.StatsConfig(
            stats_matcher=metrics.StatsMatcher(
                inclusion_list=matcher.ListStringMatcher(
                    patterns=[
                        *(matcher.StringMatcher(prefix=prefix) for prefix in KEPT_STATS),
                        matcher.StringMatcher(
                            safe_regex=matcher.RegexMatcher(regex=KEPT_CELL_STATS)
                        ),
                    ]
                )
            )
        ),
    )
    return json.dumps(json.loads(document.to_json()), indent=2, sort_keys=True)


def _reconnect() -> core.RetryPolicy:
    """A control plane that is back is found within seconds; Envoy's own bound is 30 s."""
    back_off = core.BackoffStrategy(
        base_interval=timedelta(milliseconds=200), max_interval=timedelta(seconds=3)
    )
    return core.RetryPolicy(retry_back_off=back_off)


def _runtime() -> bootstrap.LayeredRuntime:
    """A chunk's end that is no CRLF is refused, as RFC 9112 section 7.1 has it; regexes see bytes
    (Envoy 1.40's default), as `control_plane.routing.rules.regex` does."""
    flags = {f"envoy.reloadable_features.{name}": True for name in _FEATURES}
    layer = bootstrap.RuntimeLayer(name="cellway", static_layer=Struct.from_dict(flags))
    return bootstrap.LayeredRuntime(layers=[layer])


def _address(host: str, port: int) -> core.Address:
    return core.Address(socket_address=core.SocketAddress(address=host, port_value=port))


def _xds_cluster(member: FleetMember) -> cluster.Cluster:
    options = upstream_http.HttpProtocolOptions(
        explicit_http_config=upstream_http.HttpProtocolOptionsExplicitHttpConfig(
            http2_protocol_options=core.Http2ProtocolOptions(
                # Half-open connections are found by pings, not by the next change.
                connection_keepalive=core.KeepaliveSettings(
                    interval=timedelta(seconds=30), timeout=timedelta(seconds=5)
                )
            )
        )
    )
    target = endpoint.LbEndpoint(
        endpoint=endpoint.Endpoint(address=_address(member.xds_host, member.xds_port))
    )
    return cluster.Cluster(
        name=XDS_CLUSTER,
        type=_discovery(member.xds_host),
        # Of a name with both, the control plane may listen on one family only.
        dns_lookup_family=cluster.ClusterDnsLookupFamily.ALL,
        connect_timeout=timedelta(seconds=2),
        transport_socket=None if member.tls is None else _tls(member.tls),
        typed_extension_protocol_options={
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": AnyMessage.pack(options)
        },
        load_assignment=endpoint.ClusterLoadAssignment(
            cluster_name=XDS_CLUSTER,
            endpoints=[endpoint.LocalityLbEndpoints(lb_endpoints=[target])],
        ),
        upstream_connection_options=cluster.UpstreamConnectionOptions(
            tcp_keepalive=core.TcpKeepalive(
                keepalive_probes=3,
                keepalive_time=30,
                keepalive_interval=5,
            )
        ),
    )


def _discovery(host: str) -> cluster.ClusterDiscoveryType:
    """How Envoy finds the control plane: an address needs no DNS, which may know no IPv6."""
    try:
        ip_address(host)
    except ValueError:
        return cluster.ClusterDiscoveryType.STRICT_DNS
    return cluster.ClusterDiscoveryType.STATIC


def _tls(files: MemberTls) -> core.TransportSocket:
    name = tls.SubjectAltNameMatcher(
        san_type=tls.SubjectAltNameMatcherSanType.DNS,
        matcher=matcher.StringMatcher(exact=files.server_name),
    )
    context = tls.UpstreamTlsContext(
        sni=files.server_name,
        common_tls_context=tls.CommonTlsContext(
            alpn_protocols=["h2"],
            tls_certificates=[
                tls.TlsCertificate(
                    certificate_chain=core.DataSource(filename=files.certificate),
                    private_key=core.DataSource(filename=files.key),
                )
            ],
            validation_context=tls.CertificateValidationContext(
                trusted_ca=core.DataSource(filename=files.ca),
                match_typed_subject_alt_names=[name],
            ),
        ),
    )
    return core.TransportSocket(
        name="envoy.transport_sockets.tls", typed_config=AnyMessage.pack(context)
    )
