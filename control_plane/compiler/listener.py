"""The edge listener and its filter chain, authored once with envoy-data-plane's dataclasses."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network

from envoy_data_plane.envoy.config.accesslog import v3 as accesslog
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.listener import v3 as listener
from envoy_data_plane.envoy.extensions.filters.http.header_mutation import v3 as header_mutation
from envoy_data_plane.envoy.extensions.filters.http.router import v3 as router
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import v3 as hcm

from control_plane.compiler.authoring import authored
from control_plane.compiler.edge_map.listener import edited
from control_plane.compiler.filters import ads, decision_filters, http_filter, pack
from control_plane.compiler.header_hygiene import hygiene_filter, strip_internal
from control_plane.compiler.model import EnvoyResource, TrafficPolicy
from control_plane.names import (
    DEBUG_FILTER,
    LDS,
    LISTENER_NAME,
    ROUTES_NAME,
    TYPE_URL,
)
from control_plane.routing.admission.refusal import HEADERS_TOO_LARGE


@authored
def compile_listener(policy: TrafficPolicy) -> EnvoyResource:
    """Return the edge's listener: a filter chain, and one with debug headers for some callers.

    It depends on no cell and on no ruleset, because a changed listener drains the connections of
    the one before.
    """
    filters = decision_filters(policy)
    # Stats by response code cost a tenth of all else, since their names are made for each request.
    # The endpoints' own counters of good and bad answers are kept (see clusters).
    routed = http_filter(
        "envoy.filters.http.router",
        router.Router(dynamic_stats=False, suppress_envoy_headers=True),
    )
    last = [hygiene_filter(), routed]
    replies = _authz_replies() if policy.classifier_protocol == "grpc" else None
    chains = []
    if policy.debug_networks:
        match = listener.FilterChainMatch(
            source_prefix_ranges=[_cidr(network) for network in policy.debug_networks]
        )
        debugged = _manager([*filters, _debug_filter(), *last], policy, replies)
        chains.append(_chain("debug", debugged, match))
    edge = listener.Listener(
        name=LISTENER_NAME,
        address=_address(policy),
        filter_chains=chains,
        default_filter_chain=_chain("edge", _manager([*filters, *last], policy, replies), None),
        per_connection_buffer_limit_bytes=32 * 1024,
    )
    # Written by protobuf, so that the edge map's filters can be put in and taken out again.
    return edited(EnvoyResource(LDS, LISTENER_NAME, bytes(edge)), lambda _: True)


def _address(policy: TrafficPolicy) -> core.Address:
    """Return where the edge listens; ``::`` takes IPv4, too, as everywhere else in cellway."""
    return core.Address(
        socket_address=core.SocketAddress(
            address=policy.edge_host,
            port_value=policy.edge_port,
            ipv4_compat=policy.edge_host == "::",
        )
    )


def _chain(
    name: str, manager: hcm.HttpConnectionManager, match: listener.FilterChainMatch | None
) -> listener.FilterChain:
    chain = listener.FilterChain(
        name=name,
        filters=[
            listener.Filter(
                name="envoy.filters.network.http_connection_manager", typed_config=pack(manager)
            )
        ],
    )
    if match is not None:
        chain.filter_chain_match = match
    return chain


def _manager(
    filters: list[hcm.HttpFilter], policy: TrafficPolicy, replies: hcm.LocalReplyConfig | None
) -> hcm.HttpConnectionManager:
    """Configure HTTP as Envoy's edge best practices say; %2F stays, as GitLab's API needs it."""
    return hcm.HttpConnectionManager(
        stat_prefix="edge",
        rds=hcm.Rds(config_source=ads(), route_config_name=ROUTES_NAME),
        http_filters=filters,
        use_remote_address=True,
        normalize_path=True,
        merge_slashes=True,
        path_with_escaped_slashes_action=(
            hcm.HttpConnectionManagerPathWithEscapedSlashesAction.KEEP_UNCHANGED
        ),
        common_http_protocol_options=core.HttpProtocolOptions(
            idle_timeout=timedelta(hours=1),
            headers_with_underscores_action=(
                core.HttpProtocolOptionsHeadersWithUnderscoresAction.REJECT_REQUEST
            ),
        ),
        http2_protocol_options=core.Http2ProtocolOptions(
            max_concurrent_streams=100,
            initial_stream_window_size=64 * 1024,
            initial_connection_window_size=1024 * 1024,
        ),
        max_request_headers_kb=policy.max_request_headers_kb,
        stream_idle_timeout=timedelta(seconds=policy.stream_idle_timeout_s),
        early_header_mutation_extensions=[strip_internal()],
        upgrade_configs=[hcm.HttpConnectionManagerUpgradeConfig(upgrade_type="websocket")],
        generate_request_id=True,
        local_reply_config=replies,
        server_header_transformation=(
            hcm.HttpConnectionManagerServerHeaderTransformation.PASS_THROUGH
        ),
    )


def _authz_replies() -> hcm.LocalReplyConfig:
    """Answer 431 where Envoy's ext_authz has no room for the classifier's headers and answers 500.

    That happens if a request's headers, with those that Envoy itself adds, are at the limit.
    """
    compare = accesslog.ComparisonFilter(
        op=accesslog.ComparisonFilterOp.EQ,
        value=core.RuntimeUInt32(default_value=500, runtime_key="cellway.authz_replies"),
    )
    status = accesslog.AccessLogFilter(
        status_code_filter=accesslog.StatusCodeFilter(comparison=compare)
    )
    by_authz = accesslog.AccessLogFilter(
        response_flag_filter=accesslog.ResponseFlagFilter(flags=["UAEX"])
    )
    both = accesslog.AccessLogFilter(and_filter=accesslog.AndFilter(filters=[status, by_authz]))
    return hcm.LocalReplyConfig(
        mappers=[hcm.ResponseMapper(filter=both, status_code=HEADERS_TOO_LARGE)]
    )


def _debug_filter() -> hcm.HttpFilter:
    source = core.ExtensionConfigSource(
        config_source=ads(),
        type_urls=[f"{TYPE_URL}envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"],
        default_config=pack(header_mutation.HeaderMutation(mutations=header_mutation.Mutations())),
        apply_default_config_without_warming=True,
    )
    return hcm.HttpFilter(name=DEBUG_FILTER, config_discovery=source)


def _cidr(network: str) -> core.CidrRange:
    parsed = ip_network(network)
    return core.CidrRange(address_prefix=str(parsed.network_address), prefix_len=parsed.prefixlen)
