"""The filters that get decisions: off by themselves, and what routes turn on is there."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2

from control_plane.compiler.filters import (
    AUTHZ_FILTER,
    decision_filters,
    has_epochs,
    route_filters,
)
from control_plane.compiler.model import TrafficPolicy
from control_plane.names import (
    AFTER_CLASSIFIER_FILTER,
    AGAIN_FILTER,
    CACHE_FILTER,
    CLASSIFIER_CLUSTER,
    CLASSIFIER_TIER_FILTER,
    EMPTY_421_FILTER,
    EPOCHS_FILTER,
    MISDIRECTED_FILTER,
    RULESET_CONTEXT,
)
from control_plane.routing.rules.parse import parse

RULESET = parse([{"id": "any", "action": "proxy"}])
HTTP = TrafficPolicy()
NO_CACHE = TrafficPolicy(edge_cache_entries=0)
GRPC = TrafficPolicy(classifier_protocol="grpc", classifier_timeout_s=0.5)
GRPC_DEBUG = TrafficPolicy(classifier_protocol="grpc", debug_networks=("127.0.0.0/8",))
ORDER = {
    "http": [EPOCHS_FILTER, CACHE_FILTER, MISDIRECTED_FILTER, AGAIN_FILTER, EMPTY_421_FILTER],
    "no cache": [CACHE_FILTER, MISDIRECTED_FILTER],
    "grpc": [AUTHZ_FILTER, AFTER_CLASSIFIER_FILTER, MISDIRECTED_FILTER],
    "grpc, debug": [
        *(AUTHZ_FILTER, CLASSIFIER_TIER_FILTER, AFTER_CLASSIFIER_FILTER, MISDIRECTED_FILTER)
    ],
}


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        (HTTP, ORDER["http"]),
        (NO_CACHE, ORDER["no cache"]),
        (GRPC, ORDER["grpc"]),
        (GRPC_DEBUG, ORDER["grpc, debug"]),
    ],
)
def test_the_filters_stand_in_their_order_and_are_off(
    policy: TrafficPolicy, names: list[str]
) -> None:
    filters = decision_filters(policy)
    assert [one.name for one in filters] == names
    assert all(one.disabled for one in filters)


@pytest.mark.parametrize("policy", [HTTP, NO_CACHE, GRPC, GRPC_DEBUG])
@pytest.mark.parametrize("second_try", [True, False])
def test_a_route_turns_on_no_filter_that_is_not_there(
    policy: TrafficPolicy, second_try: bool
) -> None:
    there = {one.name for one in decision_filters(policy)}
    on = route_filters(RULESET, policy, second_try=second_try)
    assert on.reading
    for filters in (on.reading, on.writing, on.again):
        assert set(filters) <= there


def test_only_where_answers_are_kept_epochs_are_told_and_questions_repeated() -> None:
    for policy, keeps in ((HTTP, True), (NO_CACHE, False), (GRPC, False)):
        assert has_epochs(policy) is keeps
        on = route_filters(RULESET, policy, second_try=True)
        assert (EPOCHS_FILTER in on.reading) is keeps
        assert bool(on.again) is keeps


def test_ext_authz_is_told_the_ruleset_and_fails_open_to_the_route() -> None:
    on: Any = route_filters(RULESET, GRPC, second_try=False).reading[AUTHZ_FILTER]
    assert on.check_settings.context_extensions[RULESET_CONTEXT] == RULESET.digest
    authz = decision_filters(GRPC)[0].typed_config
    assert authz is not None
    config = ext_authz_pb2.ExtAuthz.FromString(authz.value)
    assert config.failure_mode_allow
    assert config.failure_mode_allow_header_add
    assert config.grpc_service.envoy_grpc.cluster_name == CLASSIFIER_CLUSTER
    assert config.grpc_service.timeout.ToMilliseconds() == 500


@pytest.mark.parametrize("second_try", [True, False])
def test_the_second_try_is_turned_on_only_where_a_rule_hands_over(second_try: bool) -> None:
    on = route_filters(RULESET, GRPC, second_try=second_try)
    assert (AFTER_CLASSIFIER_FILTER in on.reading) is second_try
