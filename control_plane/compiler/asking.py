"""The filters that ask the classifier: the edge cache, or Envoy's ext_authz.

All are off unless a route turns them on, so that native routes pay nothing for them.
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
from envoy_data_plane.envoy.type.matcher import v3 as matcher
from envoy_data_plane.google.protobuf import Any as AnyMessage
from google.protobuf.message import Message as ProtobufMessage
from xds.core.v3 import extension_pb2

from control_plane.compiler.edge_cache import (
    compile_empty_421_script,
    compile_misdirected_script,
    compile_script,
    headers_asked,
)
from control_plane.compiler.model import (
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
    RULE_HEADER,
    TIER_HEADER,
    TrafficPolicy,
)
from control_plane.routing.ruleset import Ruleset, Subject

AUTHZ_FILTER = "envoy.filters.http.ext_authz"
AFTER_CLASSIFIER_FILTER = "cellway.after_classifier"


def uses_edge_cache(ruleset: Ruleset, policy: TrafficPolicy) -> bool:
    """Whether the edge keeps answers: not over gRPC, and only where inputs can be named."""
    return (
        policy.edge_cache_entries > 0
        and policy.classifier_protocol == "http"
        and headers_asked(ruleset) is not None
    )


def asking_filters(
    ruleset: Ruleset, policy: TrafficPolicy, *, second_try: bool
) -> list[hcm.HttpFilter]:
    """In their order; ``second_try``: a dead classifier may hand over to the next rule."""
    left = _at_421(_lua(MISDIRECTED_FILTER, compile_misdirected_script()))
    if uses_edge_cache(ruleset, policy):
        script = compile_script(ruleset, policy, second_try=second_try)
        # A response goes through them the other way round.
        empty = _at_421(_lua(EMPTY_421_FILTER, compile_empty_421_script()))
        return [_epochs(), _lua(CACHE_FILTER, script), left, _ask_again(), empty]
    return [_authz(ruleset, policy), *([_clear_after_failure()] if second_try else []), left]


@dataclass(frozen=True, slots=True)
class AskingConfig:
    """What routes say to turn the filters on, by filter."""

    reading: Mapping[str, ProtobufMessage]
    """On a route that asks, for requests that have no body as a rule."""
    writing: Mapping[str, ProtobufMessage]
    """For all others: a cell may answer before their end."""
    again: Mapping[str, ProtobufMessage]
    """On the route of what a cell has answered with 421; empty: such are not asked again."""


def asking_config(ruleset: Ruleset, policy: TrafficPolicy, *, second_try: bool) -> AskingConfig:
    """What turns on the filters that `asking_filters` has."""
    on = route_components_pb2.FilterConfig()
    on.config.SetInParent()
    lua_on = lua_pb2.LuaPerRoute()
    lua_on.filter_context.SetInParent()
    left = {MISDIRECTED_FILTER: on}
    if uses_edge_cache(ruleset, policy):
        asking = {EPOCHS_FILTER: on, CACHE_FILTER: lua_on, AGAIN_FILTER: on}
        writing = asking | left | {EMPTY_421_FILTER: on}
        return AskingConfig(asking, writing, {CACHE_FILTER: lua_on} | left)
    check = ext_authz_pb2.ExtAuthzPerRoute()
    check.check_settings.SetInParent()
    asking = {AUTHZ_FILTER: check} | ({AFTER_CLASSIFIER_FILTER: on} if second_try else {}) | left
    return AskingConfig(asking, asking, {})


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
        type_urls=["type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config"],
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
        type_url=f"type.googleapis.com/{config.DESCRIPTOR.full_name}",
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


def _authz(ruleset: Ruleset, policy: TrafficPolicy) -> hcm.HttpFilter:
    """Asks the classifier. Failing open is safe: the route that asks is then used itself, and it
    does what the rule's on_classifier_down says."""
    timeout = timedelta(seconds=policy.classifier_timeout_s)
    config = ext_authz.ExtAuthz(
        transport_api_version=core.ApiVersion.V3,
        failure_mode_allow=True,
        failure_mode_allow_header_add=True,
        clear_route_cache=True,
        stat_prefix="classifier",
        allowed_headers=matcher.ListStringMatcher(patterns=_headers_used(ruleset)),
        # As text, what is no UTF-8 would come as "!".
        encode_raw_headers=True,
    )
    if policy.classifier_protocol == "grpc":
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
                    patterns=[
                        matcher.StringMatcher(exact=name)
                        for name in (CELL_HEADER, RULE_HEADER, TIER_HEADER)
                    ]
                ),
            ),
        )
    made = http_filter(AUTHZ_FILTER, config)
    made.disabled = True
    return made


def _headers_used(ruleset: Ruleset) -> list[matcher.StringMatcher]:
    """The least that the classifier must see."""
    # The path too, of which the gRPC question otherwise has a text only.
    fixed: set[str] = {"cookie", ":path"}
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
