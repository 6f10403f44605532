"""Clusters and endpoints: one of each per cell, and the classifier's cluster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import address_pb2, health_check_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from google.protobuf import any_pb2

from control_plane.compiler.model import (
    CLASSIFIER_CLUSTER,
    CLUSTER,
    ENDPOINTS,
    ClassifierAddress,
    EnvoyResource,
    TrafficPolicy,
    UpstreamCell,
    cell_cluster,
)

CONNECTION_BUFFER_BYTES = 32 * 1024
MAX_CONNECTIONS = 10_000
MAX_PENDING = 10_000
MAX_REQUESTS = 50_000
MAX_RETRIES = 100
SYSTEM_TRUST_STORE = "/etc/ssl/certs/ca-certificates.crt"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def compile_cell(cell: UpstreamCell, policy: TrafficPolicy) -> Iterable[EnvoyResource]:
    """A cell's cluster, and its endpoints where they are IP addresses (else Envoy asks DNS)."""
    name = cell_cluster(cell.name)
    # Under the cell's own name in Envoy's stats, and as %UPSTREAM_CLUSTER%.
    cluster = cluster_pb2.Cluster(name=name, alt_stat_name=cell.name)
    cluster.track_cluster_stats.per_endpoint_stats = True
    cluster.lb_policy = cluster_pb2.Cluster.LbPolicy.LEAST_REQUEST
    _common(cluster, policy)
    _close_idle(cluster, policy.cell_idle_timeout_s)
    # All endpoints dead means a dead cell; panic routing to them would hide that.
    cluster.common_lb_config.healthy_panic_threshold.value = 0
    if cell.tls is not None:
        _tls(cluster, cell)
    if cell.health_check_path is not None:
        cluster.health_checks.append(_health_check(cell, policy))
    assignment = _assignment(name, [(e.host, e.port) for e in cell.endpoints])
    if all(endpoint.is_ip for endpoint in cell.endpoints):
        cluster.type = cluster_pb2.Cluster.DiscoveryType.EDS
        cluster.eds_cluster_config.eds_config.ads.SetInParent()
        cluster.eds_cluster_config.eds_config.resource_api_version = 2
        yield EnvoyResource(ENDPOINTS, name, assignment.SerializeToString(deterministic=True))
    else:
        cluster.type = cluster_pb2.Cluster.DiscoveryType.STRICT_DNS
        cluster.load_assignment.CopyFrom(assignment)
    yield EnvoyResource(CLUSTER, name, cluster.SerializeToString(deterministic=True))


def compile_classifier(
    addresses: Sequence[ClassifierAddress], policy: TrafficPolicy
) -> EnvoyResource:
    """The cluster of classifiers: several workers are several endpoints."""
    cluster = cluster_pb2.Cluster(name=CLASSIFIER_CLUSTER)
    cluster.type = cluster_pb2.Cluster.DiscoveryType.STATIC
    cluster.lb_policy = cluster_pb2.Cluster.LbPolicy.LEAST_REQUEST
    _common(cluster, policy)
    assignment = endpoint_pb2.ClusterLoadAssignment(cluster_name=CLASSIFIER_CLUSTER)
    locality = assignment.endpoints.add()
    for address in addresses:
        endpoint = locality.lb_endpoints.add().endpoint
        if address.path:
            endpoint.address.pipe.path = address.path
        else:
            endpoint.address.socket_address.CopyFrom(_socket(address.host, address.port))
    cluster.load_assignment.CopyFrom(assignment)
    if policy.classifier_protocol == "grpc":
        options = http_protocol_options_pb2.HttpProtocolOptions()
        options.explicit_http_config.http2_protocol_options.SetInParent()
        cluster.typed_extension_protocol_options[_HTTP_OPTIONS].Pack(options)
    return EnvoyResource(CLUSTER, CLASSIFIER_CLUSTER, cluster.SerializeToString(deterministic=True))


def _common(cluster: cluster_pb2.Cluster, policy: TrafficPolicy) -> None:
    cluster.per_connection_buffer_limit_bytes.value = CONNECTION_BUFFER_BYTES
    cluster.connect_timeout.FromMilliseconds(round(policy.connect_timeout_s * 1000))
    threshold = cluster.circuit_breakers.thresholds.add()
    threshold.max_connections.value = MAX_CONNECTIONS
    threshold.max_pending_requests.value = MAX_PENDING
    threshold.max_requests.value = MAX_REQUESTS
    threshold.max_retries.value = MAX_RETRIES


@lru_cache(maxsize=4)
def _idle_options(seconds: float) -> any_pb2.Any:
    options = http_protocol_options_pb2.HttpProtocolOptions()
    options.explicit_http_config.http_protocol_options.SetInParent()
    options.common_http_protocol_options.idle_timeout.FromMilliseconds(round(seconds * 1000))
    packed = any_pb2.Any()
    packed.Pack(options)
    return packed


def _close_idle(cluster: cluster_pb2.Cluster, seconds: float) -> None:
    """Close kept connections before the cell does, as a request may be on its way (ADR 15)."""
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(_idle_options(seconds))


def _socket(host: str, port: int) -> address_pb2.SocketAddress:
    return address_pb2.SocketAddress(address=host, port_value=port)


def _assignment(
    name: str, endpoints: Iterable[tuple[str, int]]
) -> endpoint_pb2.ClusterLoadAssignment:
    assignment = endpoint_pb2.ClusterLoadAssignment(cluster_name=name)
    locality = assignment.endpoints.add()
    for host, port in endpoints:
        one = endpoint_components_pb2.LbEndpoint()
        one.endpoint.address.socket_address.CopyFrom(_socket(host, port))
        locality.lb_endpoints.append(one)
    return assignment


def _tls(cluster: cluster_pb2.Cluster, cell: UpstreamCell) -> None:
    assert cell.tls is not None
    server_name = cell.tls.server_name or cell.address.partition(":")[0]
    context = tls_pb2.UpstreamTlsContext(sni=server_name)
    validation = context.common_tls_context.validation_context
    validation.trusted_ca.filename = cell.tls.ca_file or SYSTEM_TRUST_STORE
    san = validation.match_typed_subject_alt_names.add()
    san.san_type = common_pb2.SubjectAltNameMatcher.SanType.DNS
    san.matcher.exact = server_name
    cluster.transport_socket.name = "envoy.transport_sockets.tls"
    cluster.transport_socket.typed_config.Pack(context)


def _health_check(cell: UpstreamCell, policy: TrafficPolicy) -> health_check_pb2.HealthCheck:
    check = health_check_pb2.HealthCheck()
    check.timeout.FromMilliseconds(1000)
    check.interval.FromMilliseconds(round(policy.health_check_interval_s * 1000))
    check.interval_jitter_percent = 20
    check.unhealthy_threshold.value = 3
    check.healthy_threshold.value = 1
    check.http_health_check.path = str(cell.health_check_path)
    check.http_health_check.host = cell.address
    return check
