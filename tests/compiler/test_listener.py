"""The edge's listener, read back by protobuf's own classes."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401 - in an Any
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from envoy.extensions.http.early_header_mutation.header_mutation.v3 import header_mutation_pb2

from control_plane.compiler.listener import compile_listener
from control_plane.compiler.model import TrafficPolicy
from control_plane.names import (
    AUTHZ_FAILED_HEADER,
    DEBUG_FILTER,
    HYGIENE_FILTER,
    INTERNAL_PREFIX,
    LDS,
    LISTENER_NAME,
    ROUTES_NAME,
)
from control_plane.routing.admission.admit import MAX_HEAD_BYTES

DEBUG = TrafficPolicy(debug_networks=("10.1.2.3/32", "::1/128"))


def listener(policy: TrafficPolicy) -> Any:
    made = compile_listener(policy)
    assert (made.type_url, made.name) == (LDS, LISTENER_NAME)
    return listener_pb2.Listener.FromString(made.body)


def manager(chain: Any) -> Any:
    (network_filter,) = chain.filters
    config = hcm_pb2.HttpConnectionManager()
    assert network_filter.typed_config.Unpack(config)
    return config


def test_the_router_is_the_last_filter_and_routes_come_over_rds() -> None:
    config = manager(listener(TrafficPolicy()).default_filter_chain)
    assert config.http_filters[-1].name == "envoy.filters.http.router"
    assert config.rds.route_config_name == ROUTES_NAME


def test_internal_headers_are_taken_off_before_any_filter() -> None:
    config = manager(listener(TrafficPolicy()).default_filter_chain)
    (early,) = config.early_header_mutation_extensions
    mutations = header_mutation_pb2.HeaderMutation()
    assert early.typed_config.Unpack(mutations)
    removed = [one.remove_on_match.key_matcher for one in mutations.mutations]
    assert [one.prefix or one.exact for one in removed] == [INTERNAL_PREFIX, AUTHZ_FAILED_HEADER]


def test_what_admission_models_is_what_the_manager_does() -> None:
    config = manager(listener(TrafficPolicy()).default_filter_chain)
    assert config.max_request_headers_kb.value * 1024 == MAX_HEAD_BYTES
    assert config.normalize_path.value
    assert config.merge_slashes
    assert config.use_remote_address.value
    actions = type(config).PathWithEscapedSlashesAction
    assert config.path_with_escaped_slashes_action == actions.KEEP_UNCHANGED
    assert [one.upgrade_type for one in config.upgrade_configs] == ["websocket"]


def test_only_known_callers_get_debug_headers() -> None:
    edge = listener(DEBUG)
    (chain,) = edge.filter_chains
    ranges = chain.filter_chain_match.source_prefix_ranges
    assert [(one.address_prefix, one.prefix_len.value) for one in ranges] == [
        ("10.1.2.3", 32),
        ("::1", 128),
    ]
    shown = [one.name for one in manager(chain).http_filters]
    hidden = [one.name for one in manager(edge.default_filter_chain).http_filters]
    assert hidden[-2:] == [HYGIENE_FILTER, "envoy.filters.http.router"]
    assert shown == [*hidden[:-2], DEBUG_FILTER, *hidden[-2:]], "the edge's own come after"
    assert list(listener(TrafficPolicy()).filter_chains) == []


@pytest.mark.parametrize(("host", "both"), [("::", True), ("127.0.0.1", False), ("::1", False)])
def test_the_address_of_all_interfaces_takes_ipv4_too(host: str, both: bool) -> None:
    address = listener(TrafficPolicy(edge_host=host, edge_port=7)).address.socket_address
    assert (address.address, address.port_value, address.ipv4_compat) == (host, 7, both)


def test_over_grpc_a_full_head_is_answered_431() -> None:
    over_http = manager(listener(TrafficPolicy()).default_filter_chain)
    over_grpc = manager(listener(TrafficPolicy(classifier_protocol="grpc")).default_filter_chain)
    assert not over_http.HasField("local_reply_config")
    (mapper,) = over_grpc.local_reply_config.mappers
    assert mapper.status_code.value == 431
