"""The filters that ask the classifier: the edge cache's script over HTTP, ext_authz over gRPC.

All are off unless a route turns them on, so that native routes pay nothing for them. None depends
on a ruleset: a connection that is kept alive has the filters that it began with, while each of its
requests has the newest routes. What there is to ask travels in the routes (see `name_routes`).
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
    EMPTY_421_FILTER,
    EPOCHS_FILTER,
    MISDIRECTED,
    MISDIRECTED_FILTER,
    MISDIRECTED_HEADER,
    RULESET_CONTEXT,
    TYPE_URL,
)
from control_plane.routing.rules.ruleset import Ruleset

AUTHZ_FILTER = "envoy.filters.http.ext_authz"


def has_epochs(policy: TrafficPolicy) -> bool:
    """Whether the edge is told which answers are void: where it may keep any."""
    return policy.classifier_protocol == "http" and policy.edge_cache_entries > 0


def decision_filters(policy: TrafficPolicy) -> list[hcm.HttpFilter]:
    """In their order."""
    left = _at_421(_lua(MISDIRECTED_FILTER, compile_misdirected_script()))
    if policy.classifier_protocol == "grpc":
        return [_authz(policy), _clear_after_failure(), left]
    script = _lua(CACHE_FILTER, compile_script(policy))
    if not has_epochs(policy):
        return [script, left]
    # A response goes through them the other way round.
    empty = _at_421(_lua(EMPTY_421_FILTER, compile_empty_421_script()))
    return [_epochs(), script, left, _ask_again(), empty]


@dataclass(frozen=True, slots=True)
class RouteFilters:
    """What routes say to turn the filters on, by filter."""

    reading: Mapping[str, ProtobufMessage]
    """On a route that asks, for requests that have no body as a rule."""
    writing: Mapping[str, ProtobufMessage]
    """For all others: a cell may answer before their end."""
    again: Mapping[str, ProtobufMessage]
    """On the route of what a cell has answered with 421; empty: such are not asked again."""


def route_filters(ruleset: Ruleset, policy: TrafficPolicy, *, second_try: bool) -> RouteFilters:
    """What turns on the filters.

    Args:
        second_try: Whether a dead classifier may hand a request over to the next rule.
    """
    on = route_components_pb2.FilterConfig()
    on.config.SetInParent()
    left = {MISDIRECTED_FILTER: on}
    if policy.classifier_protocol == "grpc":
        check = ext_authz_pb2.ExtAuthzPerRoute()
        check.check_settings.context_extensions[RULESET_CONTEXT] = ruleset.digest
        next_rule = {AFTER_CLASSIFIER_FILTER: on} if second_try else {}
        asking = {AUTHZ_FILTER: check} | next_rule | left
        return RouteFilters(asking, asking, {})
    lua_on = lua_pb2.LuaPerRoute()
    lua_on.filter_context.SetInParent()
    if not has_epochs(policy):
        asking = {CACHE_FILTER: lua_on} | left
        return RouteFilters(asking, asking, {})
    asking = {EPOCHS_FILTER: on, CACHE_FILTER: lua_on, AGAIN_FILTER: on}
    writing = asking | left | {EMPTY_421_FILTER: on}
    return RouteFilters(asking, writing, {CACHE_FILTER: lua_on} | left)


def pack(message: Message) -> AnyMessage:
    """The message in an Any."""
    return AnyMessage.pack(message)


def http_filter(name: str, config: Message) -> hcm.HttpFilter:
    """A filter with its configuration."""
    return hcm.HttpFilter(name=name, typed_config=pack(config))


def ads() -> core.ConfigSource:
    """Where everything comes from."""
    return core.ConfigSource(
        ads=core.AggregatedConfigSource(), resource_api_version=core.ApiVersion.V3
    )


def _epochs() -> hcm.HttpFilter:
    """A resource of its own, so that a move changes it and nothing else."""
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
    made = http_filter(name, config)
    made.disabled = True
    return made


def _at_421(made: hcm.HttpFilter) -> hcm.HttpFilter:
    """The filter, but only for responses with status 421: half the cost of a Lua handler."""
    assert made.typed_config is not None
    wrapped = extension_matcher_pb2.ExtensionWithMatcher()
    wrapped.extension_config.name = made.name
    wrapped.extension_config.typed_config.type_url = made.typed_config.type_url
    wrapped.extension_config.typed_config.value = made.typed_config.value
    element = wrapped.xds_matcher.matcher_list.matchers.add()
    element.on_match.action.name = "skip"
    element.on_match.action.typed_config.Pack(skip_action_pb2.SkipFilter())
    other = element.predicate.not_matcher.single_predicate
    other.value_match.exact = "421"
    _status(other.input)
    return hcm.HttpFilter(name=made.name, typed_config=_packed(wrapped), disabled=True)


def _status(target: extension_pb2.TypedExtensionConfig) -> None:
    target.name = "status"
    target.typed_config.Pack(status_code_input_pb2.HttpResponseStatusCodeMatchInput())


def _packed(config: ProtobufMessage) -> AnyMessage:
    return AnyMessage(
        type_url=f"{TYPE_URL}{config.DESCRIPTOR.full_name}",
        value=config.SerializeToString(deterministic=True),
    )


def _ask_again() -> hcm.HttpFilter:
    """Begins a request again that a cell has answered with 421, if all of it has come in.

    Envoy makes it a GET without a body, and replaces the host; the edge cache's script puts right
    what it can. The headers that clients send are not looked at again, so these two stay.
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


def _clear_after_failure() -> hcm.HttpFilter:
    """Looks the route up again after the classifier failed: then the next rule is asked."""
    value = _state_object("cellway.classifier", f"%REQ({AUTHZ_FAILED_HEADER})%")
    made = http_filter(
        AFTER_CLASSIFIER_FILTER,
        filter_state.Config(on_request_headers=[value], clear_route_cache=True),
    )
    made.disabled = True
    return made


def _authz(policy: TrafficPolicy) -> hcm.HttpFilter:
    """Asks the classifier. Failing open is safe: the route that asks is then used itself, and it
    does what the rule's on_classifier_down says.

    All headers are sent: which of them rules look at is known to the routes, and no route can tell
    this filter.
    """
    timeout = timedelta(seconds=policy.classifier_timeout_s)
    config = ext_authz.ExtAuthz(
        transport_api_version=core.ApiVersion.V3,
        failure_mode_allow=True,
        failure_mode_allow_header_add=True,
        clear_route_cache=True,
        stat_prefix="classifier",
        # As text, what is no UTF-8 would come as "!".
        encode_raw_headers=True,
        grpc_service=core.GrpcService(
            envoy_grpc=core.GrpcServiceEnvoyGrpc(cluster_name=CLASSIFIER_CLUSTER), timeout=timeout
        ),
    )
    made = http_filter(AUTHZ_FILTER, config)
    made.disabled = True
    return made
