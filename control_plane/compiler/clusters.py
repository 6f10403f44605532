"""Clusters: one per cell with its endpoints, and the classifier's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import address_pb2, base_pb2, health_check_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from envoy.extensions.clusters.common.dns.v3 import dns_pb2
from envoy.extensions.clusters.dns.v3 import dns_cluster_pb2
from envoy.extensions.network.dns_resolver.cares.v3 import cares_dns_resolver_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from google.protobuf import any_pb2

from control_plane.compiler.classifier_health import watch_classifiers
from control_plane.compiler.edge_secret import send_secret
from control_plane.compiler.model import (
    ClassifierAddress,
    Endpoint,
    EnvoyResource,
    TrafficPolicy,
    UpstreamCell,
)
from control_plane.names import CDS, CLASSIFIER_CLUSTER, cell_cluster

CONNECTION_BUFFER_BYTES = 32 * 1024
MAX_CONNECTIONS = 10_000
MAX_PENDING = 10_000
MAX_REQUESTS = 50_000
MAX_RETRIES = 100
DNS_QUERY_TIMEOUT_S = 1
DNS_QUERY_TRIES = 2
"""The second try takes twice as long, so that a name without an answer is given up after 3 s."""
DNS_REFRESH_MS = 5000
DNS_FAILURE_REFRESH_MS = 500
SIGNATURES = (
    *("ecdsa_secp256r1_sha256", "rsa_pss_rsae_sha256", "rsa_pkcs1_sha256"),
    *("ecdsa_secp384r1_sha384", "rsa_pss_rsae_sha384", "rsa_pkcs1_sha384"),
    *("ecdsa_secp521r1_sha512", "rsa_pss_rsae_sha512", "rsa_pkcs1_sha512", "ed25519"),
)
"""What cells may sign handshakes with: Envoy's own list, with P-521 and Ed25519, without SHA-1."""
PROBE_TIMEOUT_MS = 1000
UNHEALTHY_INTERVAL_MS = 1000
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def compile_cell(cell: UpstreamCell, policy: TrafficPolicy) -> EnvoyResource:
    """Return a cell's cluster, its endpoints included.

    ADR 14 says why the endpoints are not served apart (EDS). Whatever changes of a cell, Envoy
    makes a new cluster, resolves and probes its endpoints, and then puts it in the old one's place
    in one step. The old one's connections end with the requests that are on them.
    """
    name = cell_cluster(cell.name)
    # Under the cell's own name in Envoy's stats, and as %UPSTREAM_CLUSTER%.
    cluster = cluster_pb2.Cluster(name=name, alt_stat_name=cell.name)
    cluster.track_cluster_stats.per_endpoint_stats = True
    cluster.lb_policy = cluster_pb2.Cluster.LbPolicy.LEAST_REQUEST
    _common(cluster, policy)
    _close_idle(cluster, policy.cell_idle_timeout_s)
    if cell.tls is not None:
        _tls(cluster, cell)
    if all(endpoint.is_ip for endpoint in cell.endpoints):
        cluster.type = cluster_pb2.Cluster.DiscoveryType.STATIC
    else:
        _dns(cluster, policy)
    cluster.load_assignment.CopyFrom(_assignment(name, cell.endpoints))
    _probe(cluster, cell, policy)
    return EnvoyResource(CDS, name, cluster.SerializeToString(deterministic=True))


def compile_classifier(
    addresses: Sequence[ClassifierAddress], policy: TrafficPolicy
) -> EnvoyResource:
    """Return the cluster of classifiers: several control planes are several endpoints."""
    cluster = cluster_pb2.Cluster(name=CLASSIFIER_CLUSTER)
    cluster.lb_policy = cluster_pb2.Cluster.LbPolicy.LEAST_REQUEST
    _common(cluster, policy)
    if any(address.is_name for address in addresses):
        _dns(cluster, policy)
    else:
        cluster.type = cluster_pb2.Cluster.DiscoveryType.STATIC
    watch_classifiers(cluster)
    assignment = endpoint_pb2.ClusterLoadAssignment(cluster_name=CLASSIFIER_CLUSTER)
    locality = assignment.endpoints.add()
    for address in addresses:
        endpoint = locality.lb_endpoints.add().endpoint
        if address.path:
            endpoint.address.pipe.path = address.path
        else:
            endpoint.address.socket_address.CopyFrom(_socket(address.host, address.port))
    cluster.load_assignment.CopyFrom(assignment)
    if (tls := policy.classifier_tls) is not None:
        trust = base_pb2.DataSource(inline_string=tls.authorities)
        _validate(cluster, tls.name, trust, is_ip=tls.is_ip)
    options = http_protocol_options_pb2.HttpProtocolOptions()
    if policy.classifier_protocol == "grpc":
        options.explicit_http_config.http2_protocol_options.SetInParent()
    else:
        options.explicit_http_config.http_protocol_options.SetInParent()
    if policy.sends_secret:
        send_secret(options)
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].Pack(options, deterministic=True)
    return EnvoyResource(CDS, CLASSIFIER_CLUSTER, cluster.SerializeToString(deterministic=True))


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


def _assignment(name: str, endpoints: Iterable[Endpoint]) -> endpoint_pb2.ClusterLoadAssignment:
    assignment = endpoint_pb2.ClusterLoadAssignment(cluster_name=name)
    locality = assignment.endpoints.add()
    for each in endpoints:
        one = endpoint_components_pb2.LbEndpoint()
        one.endpoint.address.socket_address.CopyFrom(_socket(each.host, each.port))
        locality.lb_endpoints.append(one)
    return assignment


def _dns(cluster: cluster_pb2.Cluster, policy: TrafficPolicy) -> None:
    """Have Envoy resolve the endpoints' names: every address of a name is an endpoint."""
    dns = dns_cluster_pb2.DnsCluster()
    families = dns_pb2.DnsLookupFamily
    dns.dns_lookup_family = families.ALL if policy.ipv6 else families.V4_ONLY
    dns.dns_refresh_rate.FromMilliseconds(DNS_REFRESH_MS)
    dns.dns_failure_refresh_rate.base_interval.FromMilliseconds(DNS_FAILURE_REFRESH_MS)
    dns.dns_failure_refresh_rate.max_interval.FromMilliseconds(DNS_REFRESH_MS)
    resolver = cares_dns_resolver_pb2.CaresDnsResolverConfig()
    resolver.query_timeout_seconds.value = DNS_QUERY_TIMEOUT_S
    resolver.query_tries.value = DNS_QUERY_TRIES
    for host, port in policy.dns_resolvers:
        resolver.resolvers.add().socket_address.CopyFrom(_socket(host, port))
    dns.typed_dns_resolver_config.name = "envoy.network.dns_resolver.cares"
    dns.typed_dns_resolver_config.typed_config.Pack(resolver)
    cluster.cluster_type.name = "envoy.clusters.dns"
    cluster.cluster_type.typed_config.Pack(dns)


def _tls(cluster: cluster_pb2.Cluster, cell: UpstreamCell) -> None:
    """Trust certificates as `jobs.cell_certificates` does; a test compares the two."""
    assert cell.tls is not None
    name = cell.server_name
    trust = base_pb2.DataSource(filename=cell.tls.trust_file)
    _validate(cluster, name.text, trust, is_ip=name.is_ip)


def _validate(
    cluster: cluster_pb2.Cluster, name: str, trust: base_pb2.DataSource, *, is_ip: bool
) -> None:
    """Have Envoy speak TLS, to servers whose certificates have a name and are of an authority."""
    context = tls_pb2.UpstreamTlsContext(sni="" if is_ip else name)
    parameters = context.common_tls_context.tls_params
    parameters.tls_minimum_protocol_version = common_pb2.TlsParameters.TLSv1_2
    parameters.tls_maximum_protocol_version = common_pb2.TlsParameters.TLSv1_3
    parameters.signature_algorithms.extend(SIGNATURES)
    validation = context.common_tls_context.validation_context
    validation.trusted_ca.CopyFrom(trust)
    san = validation.match_typed_subject_alt_names.add()
    kinds = common_pb2.SubjectAltNameMatcher.SanType
    san.san_type = kinds.IP_ADDRESS if is_ip else kinds.DNS
    san.matcher.exact = name
    cluster.transport_socket.name = "envoy.transport_sockets.tls"
    cluster.transport_socket.typed_config.Pack(context)


def _probe(cluster: cluster_pb2.Cluster, cell: UpstreamCell, policy: TrafficPolicy) -> None:
    """Have Envoy probe the endpoints: by the cell's path, or names' addresses for a listener.

    A name may have addresses that the cell does not listen on: ``localhost`` has one of each
    family.
    """
    # An endpoint that the topology or DNS has withdrawn goes at once, however healthy it is.
    cluster.ignore_health_on_host_removal = True
    # A probe's result counts at once. By default Envoy gathers such changes for a second, in which
    # an address that a name has just moved to gets nothing.
    cluster.common_lb_config.update_merge_window.SetInParent()
    # All endpoints dead means a dead cell; panic routing to them would hide that.
    cluster.common_lb_config.healthy_panic_threshold.value = 0
    if cell.health_check_path is not None:
        check = _health_check(policy)
        check.http_health_check.path = cell.health_check_path
        check.http_health_check.host = cell.address
        # As the control plane's own probe: Envoy's default is 200 alone.
        check.http_health_check.expected_statuses.add(start=200, end=300)
        cluster.health_checks.append(check)
    elif not all(endpoint.is_ip for endpoint in cell.endpoints):
        check = _health_check(policy)
        check.tcp_health_check.SetInParent()
        cluster.health_checks.append(check)
        # No operator asked for this probe, so it chooses among the addresses and forbids none: if
        # no endpoint is healthy (less than 1 %), all are tried.
        cluster.common_lb_config.healthy_panic_threshold.value = 1


def _health_check(policy: TrafficPolicy) -> health_check_pb2.HealthCheck:
    check = health_check_pb2.HealthCheck()
    interval_ms = round(policy.health_check_interval_s * 1000)
    check.timeout.FromMilliseconds(PROBE_TIMEOUT_MS)
    check.interval.FromMilliseconds(interval_ms)
    check.interval_jitter_percent = 20
    check.unhealthy_threshold.value = 3
    check.healthy_threshold.value = 1
    # Envoy's own default for a cluster without traffic is a minute, and a cell that is not up when
    # it is registered has none.
    check.no_traffic_healthy_interval.FromMilliseconds(interval_ms)
    for interval in (check.unhealthy_interval, check.no_traffic_interval):
        interval.FromMilliseconds(min(interval_ms, UNHEALTHY_INTERVAL_MS))
    return check
