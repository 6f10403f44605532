"""The variant is the plain configuration with the module's parts in it, to the byte."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from envoy.config.core.v3 import extension_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.http.dynamic_modules.v3 import dynamic_modules_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from google.protobuf import wrappers_pb2

from control_plane.compiler.edge import EdgeCompiler
from control_plane.compiler.edge_map.plain import plain_of
from control_plane.compiler.edge_map.routes import with_map
from control_plane.compiler.edge_map.variant import compile_map_epochs
from control_plane.compiler.model import EnvoyResource, TrafficPolicy
from control_plane.compiler.programs import Answer, Program
from control_plane.compiler.route_actions import RouteActions
from control_plane.names import (
    ECDS,
    EDGE_MODULE,
    LDS,
    MAP_EPOCHS_FILTER,
    MAP_MISDIRECTED_FILTER,
    OWNERS_FILTER,
    RDS,
    XDS_CLUSTER,
)
from control_plane.routing.model import Status, ToCell
from control_plane.routing.outcomes import NO_RULE
from control_plane.routing.rules.parse import parse
from control_plane.shipped import rulesets
from tests.compiler.cells import cell

KEY = "00112233445566778899aabbccddeeff"
POLICIES = [
    TrafficPolicy(debug_networks=("127.0.0.0/8",)),
    TrafficPolicy(classifier_protocol="grpc"),
    TrafficPolicy(edge_cache_entries=0),
]
EVERYWHERE = json.dumps(
    {"name": "one", "rules": [{"id": "all", "action": "proxy", "proxy": {"address": "a.example"}}]}
)


def compiled(
    document: str, policy: TrafficPolicy | None = None
) -> tuple[EdgeCompiler, dict[str, EnvoyResource]]:
    compiler = EdgeCompiler(policy or TrafficPolicy())
    made = compiler.compile([cell(1), cell(2)], parse(document), 7)
    return compiler, {one.type_url: one for one in made if one.type_url in {LDS, RDS}}


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        *((name, TrafficPolicy()) for name in sorted(rulesets())),
        *(("generic", p) for p in POLICIES),
    ],
)
def test_what_was_put_in_can_be_taken_out_again(name: str, policy: TrafficPolicy) -> None:
    compiler, plain = compiled(rulesets()[name].read_text(), policy)
    variant = {one.type_url: one for one in compiler.module_variant(KEY)}
    assert variant.keys() == plain.keys() == {LDS, RDS}
    for type_url, one in variant.items():
        assert one != plain[type_url]
        assert plain_of(one) == plain[type_url]
        assert plain_of(plain[type_url]) is plain[type_url]
    assert plain_of(compile_map_epochs(1, {})) is None


def managers(listener: EnvoyResource) -> list[Any]:
    message = listener_pb2.Listener.FromString(listener.body)
    made = []
    for chain in (*message.filter_chains, message.default_filter_chain):
        manager = hcm_pb2.HttpConnectionManager()
        assert chain.filters[0].typed_config.Unpack(manager)
        made.append(manager)
    return made


def module_filter(config: Any) -> tuple[str, str]:
    """What a filter of the module is told: which one it is, and its text."""
    message = dynamic_modules_pb2.DynamicModuleFilter()
    assert config.Unpack(message)
    assert message.dynamic_module_config.name == EDGE_MODULE
    text = wrappers_pb2.StringValue()
    assert message.filter_config.Unpack(text)
    return message.filter_name, text.value


def test_the_module_learns_key_and_cluster_in_filters_that_no_request_pays_for() -> None:
    policy = TrafficPolicy(debug_networks=("127.0.0.0/8",), map_unknown_asked=7)
    compiler, _ = compiled(EVERYWHERE, policy)
    listener, _ = compiler.module_variant(KEY)
    found = managers(listener)
    assert len(found) == 2
    for manager in found:
        owners, epochs, misdirected = manager.http_filters[:3]
        assert (owners.name, epochs.name) == (OWNERS_FILTER, MAP_EPOCHS_FILTER)
        assert owners.disabled
        assert epochs.disabled
        assert (misdirected.name, misdirected.disabled) == (MAP_MISDIRECTED_FILTER, True)
        told = f"key={KEY}\ncluster={XDS_CLUSTER}\nask=7\n"
        assert module_filter(owners.typed_config) == ("owners", told)
        # Until the epochs come, everything in the map is void.
        assert module_filter(epochs.config_discovery.default_config) == ("epochs", "off")


def test_the_epochs_are_a_resource_of_the_module() -> None:
    made = compile_map_epochs(7, {3: 8, 200: 9, 5: 2})
    assert (made.type_url, made.name) == (ECDS, MAP_EPOCHS_FILTER)
    wrapped = extension_pb2.TypedExtensionConfig.FromString(made.body)
    assert module_filter(wrapped.typed_config) == ("epochs", "7;3:8,200:9")


def table(routes: EnvoyResource) -> Any:
    (host,) = route_pb2.RouteConfiguration.FromString(routes.body).virtual_hosts
    return host.matcher


def test_the_map_stands_behind_decided_requests_and_before_all_rules() -> None:
    _, plain = compiled(rulesets()["gitlab"].read_text())
    rule = parse(EVERYWHERE).rules[0]
    answers = {
        "0:1": Answer(rule, ToCell("cell-1", 1), "edge-map"),
        "0:2": Answer(rule, ToCell("cell-2", 2), "native"),
        "0=unknown": Answer(rule, NO_RULE, "edge-map"),
    }
    made = with_map(
        plain[RDS], Program(b"code", answers, frozenset()), RouteActions(TrafficPolicy(), ())
    )
    matcher, before = table(made), table(plain[RDS])
    assert list(matcher.matcher_list.matchers) == [before.matcher_list.matchers[0]]
    tree = matcher.on_no_match.matcher
    rest = list(tree.on_no_match.matcher.matcher_list.matchers)
    assert rest == list(before.matcher_list.matchers[1:])
    assert tree.on_no_match.matcher.on_no_match == before.on_no_match
    entries = tree.matcher_tree.exact_match_map.map
    assert set(entries) == set(answers)
    routes = {}
    for text, on_match in entries.items():
        routes[text] = route_components_pb2.Route()
        assert on_match.action.typed_config.Unpack(routes[text])
    assert routes["0:1"].route.cluster == "cell:cell-1"
    assert dict(routes["0:1"].metadata.filter_metadata["cellway"]) == {"tier": "edge-map"}
    # What is native needs no word, as without the module.
    assert not routes["0:2"].metadata.filter_metadata
    assert set(routes["0:1"].typed_per_filter_config) == {MAP_MISDIRECTED_FILTER}
    assert not routes["0:2"].typed_per_filter_config
    assert not routes["0=unknown"].typed_per_filter_config
    assert isinstance(NO_RULE, Status)
    assert routes["0=unknown"].direct_response.status == NO_RULE.code


def test_a_ruleset_of_one_rule_for_all_requests_can_be_undone_too() -> None:
    _, plain = compiled(EVERYWHERE)
    rule = parse(EVERYWHERE).rules[0]
    answers = {"0=fixed": Answer(rule, ToCell("cell-1", 1), "native")}
    made = with_map(
        plain[RDS], Program(b"code", answers, frozenset()), RouteActions(TrafficPolicy(), ())
    )
    assert made != plain[RDS]
    assert plain_of(made) == plain[RDS]


def test_a_change_that_routes_do_not_depend_on_makes_nothing_of_the_variant_anew() -> None:
    compiler, _ = compiled(rulesets()["gitlab"].read_text())
    ruleset = parse(EVERYWHERE)
    compiler.update([cell(1), cell(2)], ruleset, 9)
    before = compiler.module_variant(KEY)
    compiler.update([cell(1), replace(cell(2), health_check_path="/up")], ruleset, 10)
    after = compiler.module_variant(KEY)
    assert all(one is other for one, other in zip(before, after, strict=True))
    compiler.update([cell(1)], ruleset, 11)
    listener, routes = compiler.module_variant(KEY)
    assert listener is before[0]
    assert routes is not before[1]
    other = compiler.module_variant(KEY[::-1])
    assert (other[0] == listener, other[1] is routes) == (False, True)
