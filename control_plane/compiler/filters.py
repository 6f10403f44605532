"""The filters that get decisions from the classifier: edge cache (HTTP) or ext_authz (gRPC).

All are off unless a route turns them on, so that native routes pay nothing for them. None depends
on a ruleset. A connection that is kept alive has the filters that it began with, while each of its
requests gets the newest routes; so what there is to ask travels in the routes (see `route_names`).

With the edge cache, a request goes through these filters in this order, its response through them
the other way round:

    cellway.epochs        sets the filter state that says which cached answers are void (ECDS)
    cellway.edge_cache    Lua: an answer of the cache, or a question to the classifier
    cellway.misdirected   Lua: makes a 503 of a cell's 421 that can't be asked again
    cellway.ask_again     begins a request again that a cell has answered with 421
    cellway.empty_421     Lua: gives such a 421 a body
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from betterproto2 import Message
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.common.matching.v3 import extension_matcher_pb2
from envoy.extensions.filters.common.matcher.action.v3 import skip_action_pb2
from envoy.extensions.filters.http.custom_response.v3 import custom_response_pb2
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2
from envoy.extensions.filters.http.header_mutation.v3 import header_mutation_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from envoy.extensions.http.custom_response.redirect_policy.v3 import redirect_policy_pb2
from envoy.type.matcher.v3 import status_code_input_pb2
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.filters.common.set_filter_state import v3 as state_value
from envoy_data_plane.envoy.extensions.filters.http.ext_authz import v3 as ext_authz
from envoy_data_plane.envoy.extensions.filters.http.lua import v3 as lua
from envoy_data_plane.envoy.extensions.filters.http.set_filter_state import v3 as filter_state
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from envoy_data_plane.google.protobuf import Any as AnyMessage
from google.protobuf.message import Message as ProtobufMessage
from xds.core.v3 import extension_pb2

from control_plane.compiler.edge_cache import (
    compile_empty_421_script,
    compile_misdirected_script,
    compile_script,
)
from control_plane.compiler.model import TrafficPolicy
from control_plane.names import (
    AFTER_CLASSIFIER_FILTER,
    AGAIN_FILTER,
    AUTHZ_FAILED_HEADER,
    CACHE_FILTER,
    CELL_HEADER,
    CLASSIFIER_CLUSTER,
    CLASSIFIER_TIER,
    CLASSIFIER_TIER_FILTER,
    EMPTY_421_FILTER,
    EPOCHS_FILTER,
    MISDIRECTED,
    MISDIRECTED_FILTER,
    MISDIRECTED_HEADER,
    RULESET_CONTEXT,
    TIER_HEADER,
    TYPE_URL,
)
from control_plane.routing.rules.ruleset import Ruleset

AUTHZ_FILTER = "envoy.filters.http.ext_authz"


def has_epochs(policy: TrafficPolicy) -> bool:
    """Return whether the edge keeps answers, so that it must be told which of them are void."""
    return policy.classifier_protocol == "http" and policy.edge_cache_entries > 0


def decision_filters(policy: TrafficPolicy) -> list[hcm.HttpFilter]:
    """Return the filters, in their order."""
    misdirected = _at_421(_lua(MISDIRECTED_FILTER, compile_misdirected_script()))
    if policy.classifier_protocol == "grpc":
        tier = [_classifier_tier()] if policy.debug_networks else []
        return [_ext_authz(policy), *tier, _clear_after_failure(), misdirected]
    edge_cache = _lua(CACHE_FILTER, compile_script(policy))
    if not has_epochs(policy):
        return [edge_cache, misdirected]
    empty_421 = _at_421(_lua(EMPTY_421_FILTER, compile_empty_421_script()))
    return [_epochs(), edge_cache, misdirected, _ask_again(), empty_421]


@dataclass(frozen=True, slots=True)
class RouteFilters:
    """The per-route configuration that turns filters on, by filter."""

    reading: Mapping[str, ProtobufMessage]
    """On a route that needs a decision, for requests that as a rule have no body."""
    writing: Mapping[str, ProtobufMessage]
    """On such a route for all other requests: a cell may answer before their end."""
    again: Mapping[str, ProtobufMessage]
    """On the route for what a cell has answered with 421; empty: such is not asked again."""


def route_filters(ruleset: Ruleset, policy: TrafficPolicy, *, second_try: bool) -> RouteFilters:
    """Return what turns the filters on.

    Args:
        second_try: Whether a dead classifier may hand a request over to the next rule.
    """
    on = route_components_pb2.FilterConfig()
    on.config.SetInParent()
    misdirected = {MISDIRECTED_FILTER: on}
    if policy.classifier_protocol == "grpc":
        check = ext_authz_pb2.ExtAuthzPerRoute()
        check.check_settings.context_extensions[RULESET_CONTEXT] = ruleset.digest
        after: Mapping[str, ProtobufMessage] = {}
        if second_try:
            after = {AFTER_CLASSIFIER_FILTER: on}
        elif policy.debug_networks:
            after = {CLASSIFIER_TIER_FILTER: on}
        authz = {AUTHZ_FILTER: check, **after} | misdirected
        return RouteFilters(authz, authz, {})
    lua_on = lua_pb2.LuaPerRoute()
    lua_on.filter_context.SetInParent()
    if not has_epochs(policy):
        script = {CACHE_FILTER: lua_on} | misdirected
        return RouteFilters(script, script, {})
    reading = {EPOCHS_FILTER: on, CACHE_FILTER: lua_on, AGAIN_FILTER: on}
    writing = reading | misdirected | {EMPTY_421_FILTER: on}
    return RouteFilters(reading, writing, {CACHE_FILTER: lua_on} | misdirected)


def pack(message: Message) -> AnyMessage:
    """Return the message in an Any."""
    return AnyMessage.pack(message)


def http_filter(name: str, config: Message) -> hcm.HttpFilter:
    """Return a filter with its configuration."""
    return hcm.HttpFilter(name=name, typed_config=pack(config))


def ads() -> core.ConfigSource:
    """Return the source of all resources: the one aggregated stream."""
    return core.ConfigSource(
        ads=core.AggregatedConfigSource(), resource_api_version=core.ApiVersion.V3
    )


def _epochs() -> hcm.HttpFilter:
    """Return the filter of `epochs`: a resource of its own, so that a move changes only it."""
    nothing = filter_state.Config(on_request_headers=[_state_object(EPOCHS_FILTER, "")])
    source = core.ExtensionConfigSource(
        config_source=ads(),
        type_urls=[f"{TYPE_URL}envoy.extensions.filters.http.set_filter_state.v3.Config"],
        default_config=pack(nothing),
        apply_default_config_without_warming=True,
    )
    return hcm.HttpFilter(name=EPOCHS_FILTER, config_discovery=source, disabled=True)


def _lua(name: str, script: str) -> hcm.HttpFilter:
    config = lua.Lua(default_source_code=core.DataSource(inline_string=script))
    script_filter = http_filter(name, config)
    script_filter.disabled = True
    return script_filter


def _at_421(inner: hcm.HttpFilter) -> hcm.HttpFilter:
    """Return the filter for responses with status 421 alone: half the cost of a Lua handler."""
    assert inner.typed_config is not None
    wrapped = extension_matcher_pb2.ExtensionWithMatcher()
    wrapped.extension_config.name = inner.name
    wrapped.extension_config.typed_config.type_url = inner.typed_config.type_url
    wrapped.extension_config.typed_config.value = inner.typed_config.value
    element = wrapped.xds_matcher.matcher_list.matchers.add()
    element.on_match.action.name = "skip"
    element.on_match.action.typed_config.Pack(skip_action_pb2.SkipFilter())
    other = element.predicate.not_matcher.single_predicate
    other.value_match.exact = "421"
    _status(other.input)
    return hcm.HttpFilter(name=inner.name, typed_config=_packed(wrapped), disabled=True)


def _status(target: extension_pb2.TypedExtensionConfig) -> None:
    target.name = "status"
    target.typed_config.Pack(status_code_input_pb2.HttpResponseStatusCodeMatchInput())


def _packed(config: ProtobufMessage) -> AnyMessage:
    return AnyMessage(
        type_url=f"{TYPE_URL}{config.DESCRIPTOR.full_name}",
        value=config.SerializeToString(deterministic=True),
    )


def _ask_again() -> hcm.HttpFilter:
    """Return the filter that begins a request again that a cell has answered with 421.

    It does so if the whole request has come in. Envoy makes it a GET without a body, and replaces
    the host; the edge cache's script puts right what it can. The filter chain's removal of internal
    headers is not gone through again, so the two that are set here stay.
    """
    again = redirect_policy_pb2.RedirectPolicy()
    again.redirect_action.host_redirect = "misdirected.invalid"
    noted = f"%REQ(:METHOD)% %BYTES_RECEIVED% %REQ({CELL_HEADER})%"
    for name, value in ((MISDIRECTED_HEADER, noted), (CELL_HEADER, MISDIRECTED)):
        option = again.request_headers_to_add.add()
        option.header.key, option.header.value = name, value
        option.append_action = option.OVERWRITE_IF_EXISTS_OR_ADD
    config = custom_response_pb2.CustomResponse()
    tree = config.custom_response_matcher.matcher_tree
    _status(tree.input)
    action = tree.exact_match_map.map["421"].action
    action.name = "again"
    action.typed_config.Pack(again)
    return hcm.HttpFilter(name=AGAIN_FILTER, typed_config=_packed(config), disabled=True)


def _state_object(key: str, text: str) -> state_value.FilterStateValue:
    return state_value.FilterStateValue(
        object_key=key,
        factory_key="envoy.string",
        format_string=core.SubstitutionFormatString(
            text_format_source=core.DataSource(inline_string=text)
        ),
        skip_if_empty=True,
    )


def _classifier_tier() -> hcm.HttpFilter:
    """Return the filter that names the classifier's tier also where its answer is missing."""
    config = header_mutation_pb2.HeaderMutation()
    tier = config.mutations.request_mutations.add().append
    tier.header.key, tier.header.value = TIER_HEADER, CLASSIFIER_TIER
    tier.append_action = tier.ADD_IF_ABSENT
    return hcm.HttpFilter(name=CLASSIFIER_TIER_FILTER, typed_config=_packed(config), disabled=True)


def _clear_after_failure() -> hcm.HttpFilter:
    """Return the filter that looks the route up again after the classifier has failed.

    The route table then goes on with the next rule.
    """
    value = _state_object("cellway.classifier", f"%REQ({AUTHZ_FAILED_HEADER})%")
    after_classifier = http_filter(
        AFTER_CLASSIFIER_FILTER,
        filter_state.Config(on_request_headers=[value], clear_route_cache=True),
    )
    after_classifier.disabled = True
    return after_classifier


def _ext_authz(policy: TrafficPolicy) -> hcm.HttpFilter:
    """Return the filter that asks the classifier over gRPC.

    Failing open is safe: the route that asks is then used itself, and its action is what the rule's
    on_classifier_down says. All headers are sent: only the routes say which of them rules look at,
    and no route can tell this filter.
    """
    timeout = timedelta(seconds=policy.classifier_timeout_s)
    config = ext_authz.ExtAuthz(
        transport_api_version=core.ApiVersion.V3,
        failure_mode_allow=True,
        failure_mode_allow_header_add=True,
        clear_route_cache=True,
        stat_prefix="classifier",
        # As text, bytes that are no UTF-8 would arrive as "!".
        encode_raw_headers=True,
        grpc_service=core.GrpcService(
            envoy_grpc=core.GrpcServiceEnvoyGrpc(cluster_name=CLASSIFIER_CLUSTER), timeout=timeout
        ),
    )
    authz = http_filter(AUTHZ_FILTER, config)
    authz.disabled = True
    return authz
