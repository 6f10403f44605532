"""The edge listener and its filter chain, authored once with envoy-data-plane's dataclasses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from ipaddress import ip_network

from betterproto2 import Message
from envoy_data_plane.envoy.config.common.mutation_rules import v3 as mutation
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.listener import v3 as listener
from envoy_data_plane.envoy.extensions.filters.common.set_filter_state import v3 as state_value
from envoy_data_plane.envoy.extensions.filters.http.ext_authz import v3 as ext_authz
from envoy_data_plane.envoy.extensions.filters.http.header_mutation import v3 as header_mutation
from envoy_data_plane.envoy.extensions.filters.http.router import v3 as router
from envoy_data_plane.envoy.extensions.filters.http.set_filter_state import v3 as filter_state
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from envoy_data_plane.envoy.extensions.http.early_header_mutation.header_mutation import v3 as early
from envoy_data_plane.envoy.type.matcher import v3 as matcher
from envoy_data_plane.google.protobuf import Any as AnyMessage

from control_plane.compiler.model import (
    AUTHZ_FAILED_HEADER,
    CELL_HEADER,
    CLASSIFIER_CLUSTER,
    DEBUG_FILTER,
    EXTENSION,
    LISTENER,
    LISTENER_NAME,
    REVISION_HEADER,
    ROUTES_NAME,
    RULE_HEADER,
    TIER_HEADER,
    EnvoyResource,
    TrafficPolicy,
)
from control_plane.compiler.native import Analysed
from control_plane.compiler.routes import AUTHZ_FILTER, needs_second_try
from control_plane.routing.ruleset import Ruleset, Subject


def _any(message: Message) -> AnyMessage:
    return AnyMessage.pack(message)


def compile_listener(
    ruleset: Ruleset, analysed: Sequence[Analysed], policy: TrafficPolicy
) -> EnvoyResource:
    """The edge's listener: one filter chain, and a second with debug headers for known callers."""
    filters = [
        _authz(ruleset, policy),
        *([_clear_after_failure()] if needs_second_try(analysed) else []),
    ]
    # Stats by response code cost a tenth of all else, since their names are made anew for each
    # request; the endpoints' own counters of good and bad answers are kept (see clusters).
    routed = _http_filter(
        "envoy.filters.http.router",
        router.Router(dynamic_stats=False, suppress_envoy_headers=True),
    )
    chains = []
    if policy.debug_networks:
        match = listener.FilterChainMatch(
            source_prefix_ranges=[_cidr(network) for network in policy.debug_networks]
        )
        chains.append(_chain("debug", [*filters, _debug_filter(), routed], policy, match))
    edge = listener.Listener(
        name=LISTENER_NAME,
        address=core.Address(
            socket_address=core.SocketAddress(address=policy.edge_host, port_value=policy.edge_port)
        ),
        filter_chains=chains,
        default_filter_chain=_chain("edge", [*filters, routed], policy, None),
        per_connection_buffer_limit_bytes=32 * 1024,
    )
    return EnvoyResource(LISTENER, LISTENER_NAME, bytes(edge))


def compile_debug_filter(revision: int) -> EnvoyResource:
    """The filter that shows a decision to debug callers; a resource of its own, so that a new
    revision changes nothing else."""
    shown = {
        CELL_HEADER: f"%REQ({CELL_HEADER})%",
        RULE_HEADER: f"%REQ({RULE_HEADER})%",
        TIER_HEADER: f"%REQ({TIER_HEADER})%",
        REVISION_HEADER: str(revision),
    }
    actions = core.HeaderValueOptionHeaderAppendAction
    mutations = [
        _set_header(name, value, actions.OVERWRITE_IF_EXISTS_OR_ADD)
        for name, value in shown.items()
    ]
    # Whoever else decides says so in this header.
    native = _set_header(TIER_HEADER, "native", actions.ADD_IF_ABSENT)
    config = header_mutation.HeaderMutation(
        mutations=header_mutation.Mutations(
            request_mutations=[native], response_mutations=mutations
        )
    )
    wrapped = core.TypedExtensionConfig(name=DEBUG_FILTER, typed_config=_any(config))
    return EnvoyResource(EXTENSION, DEBUG_FILTER, bytes(wrapped))


def _set_header(
    name: str, value: str, action: core.HeaderValueOptionHeaderAppendAction
) -> mutation.HeaderMutation:
    header = core.HeaderValue(key=name, value=value)
    return mutation.HeaderMutation(
        append=core.HeaderValueOption(header=header, append_action=action)
    )


def _chain(
    name: str,
    filters: list[hcm.HttpFilter],
    policy: TrafficPolicy,
    match: listener.FilterChainMatch | None,
) -> listener.FilterChain:
    manager = _manager(filters, policy)
    chain = listener.FilterChain(
        name=name,
        filters=[
            listener.Filter(
                name="envoy.filters.network.http_connection_manager", typed_config=_any(manager)
            )
        ],
    )
    if match is not None:
        chain.filter_chain_match = match
    return chain


def _manager(filters: list[hcm.HttpFilter], policy: TrafficPolicy) -> hcm.HttpConnectionManager:
    """HTTP as Envoy's edge best practices say; %2F stays, because GitLab's API needs it."""
    return hcm.HttpConnectionManager(
        stat_prefix="edge",
        rds=hcm.Rds(config_source=_ads(), route_config_name=ROUTES_NAME),
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
        early_header_mutation_extensions=[_strip()],
        upgrade_configs=[hcm.HttpConnectionManagerUpgradeConfig(upgrade_type="websocket")],
        generate_request_id=True,
        server_header_transformation=(
            hcm.HttpConnectionManagerServerHeaderTransformation.PASS_THROUGH
        ),
    )


def _strip() -> core.TypedExtensionConfig:
    """Takes internal headers off every client request, before any route is looked at."""
    config = early.HeaderMutation(
        mutations=[
            mutation.HeaderMutation(
                remove_on_match=mutation.HeaderMutationRemoveOnMatch(
                    key_matcher=matcher.StringMatcher(prefix="x-cellway-")
                )
            ),
            # By a matcher, not by name: an eighth of the cost.
            mutation.HeaderMutation(
                remove_on_match=mutation.HeaderMutationRemoveOnMatch(
                    key_matcher=matcher.StringMatcher(exact=AUTHZ_FAILED_HEADER)
                )
            ),
        ]
    )
    return core.TypedExtensionConfig(
        name="envoy.http.early_header_mutation.header_mutation", typed_config=_any(config)
    )


def _state_object(key: str, text: str) -> state_value.FilterStateValue:
    return state_value.FilterStateValue(
        object_key=key,
        factory_key="envoy.string",
        format_string=core.SubstitutionFormatString(
            text_format_source=core.DataSource(inline_string=text)
        ),
        skip_if_empty=True,
    )


def _clear_after_failure() -> hcm.HttpFilter:
    """Looks the route up again after the classifier failed: then the next rule is asked."""
    value = _state_object("cellway.classifier", f"%REQ({AUTHZ_FAILED_HEADER})%")
    return _http_filter(
        "cellway.after_classifier",
        filter_state.Config(on_request_headers=[value], clear_route_cache=True),
    )


def _authz(ruleset: Ruleset, policy: TrafficPolicy) -> hcm.HttpFilter:
    """Asks the classifier; off unless the route turns it on. Failing open is safe: the route that
    asks is then used itself, and it does what the rule's on_classifier_down says."""
    timeout = timedelta(seconds=policy.classifier_timeout_s)
    config = ext_authz.ExtAuthz(
        transport_api_version=core.ApiVersion.V3,
        failure_mode_allow=True,
        failure_mode_allow_header_add=True,
        clear_route_cache=True,
        stat_prefix="classifier",
        allowed_headers=matcher.ListStringMatcher(patterns=_headers_used(ruleset)),
    )
    if policy.classifier_protocol == "grpc":
        config.encode_raw_headers = True
        config.grpc_service = core.GrpcService(
            envoy_grpc=core.GrpcServiceEnvoyGrpc(cluster_name=CLASSIFIER_CLUSTER), timeout=timeout
        )
    else:
        config.http_service = ext_authz.HttpService(
            server_uri=core.HttpUri(
                uri="http://classifier", cluster=CLASSIFIER_CLUSTER, timeout=timeout
            ),
            authorization_response=ext_authz.AuthorizationResponse(
                allowed_upstream_headers=matcher.ListStringMatcher(
                    patterns=[matcher.StringMatcher(prefix="x-cellway-")]
                ),
            ),
        )
    made = _http_filter(AUTHZ_FILTER, config)
    made.disabled = True
    return made


def _headers_used(ruleset: Ruleset) -> list[matcher.StringMatcher]:
    """The least that the classifier must see."""
    fixed: set[str] = {"cookie"}
    patterns: set[str] = set()
    for rule in ruleset.rules:
        for match in rule.matches:
            if match.subject is Subject.HEADER and match.name is not None:
                if match.literal_names:
                    fixed |= set(match.literal_names)
                else:
                    patterns.add(match.name.pattern)
    return [
        *(matcher.StringMatcher(exact=name) for name in sorted(fixed)),
        *(
            matcher.StringMatcher(safe_regex=matcher.RegexMatcher(regex=rf"\C*?(?i:{pattern})\C*"))
            for pattern in sorted(patterns)
        ),
    ]


def _debug_filter() -> hcm.HttpFilter:
    source = core.ExtensionConfigSource(
        config_source=_ads(),
        type_urls=[
            "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
        ],
        default_config=_any(header_mutation.HeaderMutation(mutations=header_mutation.Mutations())),
        apply_default_config_without_warming=True,
    )
    return hcm.HttpFilter(name=DEBUG_FILTER, config_discovery=source)


def _http_filter(name: str, config: Message) -> hcm.HttpFilter:
    return hcm.HttpFilter(name=name, typed_config=_any(config))


def _ads() -> core.ConfigSource:
    return core.ConfigSource(
        ads=core.AggregatedConfigSource(), resource_api_version=core.ApiVersion.V3
    )


def _cidr(network: str) -> core.CidrRange:
    parsed = ip_network(network)
    return core.CidrRange(address_prefix=str(parsed.network_address), prefix_len=parsed.prefixlen)


__all__ = ["compile_debug_filter", "compile_listener"]
