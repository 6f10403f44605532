"""The edge map's element in the route table: the module's answer, as a hash map to routes.

It stands right behind the element for requests that are decided already, in front of all rules:

    x-cellway-cell is there      as without the module
    otherwise, the module runs the ruleset's program over the request:
        "2:7"                    rule 2 leads to the cell with the id 7
        "2=unknown"              nobody owns the key, and rule 2 says what that gets
        nothing                  what stands here without the module

So what the module is not certain of is decided as before, and a table without the element is the
table for Envoys without the module. The element is added to the finished table, and can be taken
out again, to the byte (`without_map`): an agent's copy of the configuration serves a restarted
Envoy that has lost the module.
"""

from __future__ import annotations

from collections.abc import Callable

from envoy.config.route.v3 import route_components_pb2, route_pb2
from xds.type.matcher.v3 import matcher_pb2

from control_plane.compiler.edge_map.module_messages import PROGRAM_INPUT, program_input
from control_plane.compiler.matchers import Matcher, to_route
from control_plane.compiler.model import EnvoyResource
from control_plane.compiler.programs import Answer, Program
from control_plane.compiler.route_actions import RouteActions
from control_plane.names import EDGE_MAP_TIER, MAP_MISDIRECTED_FILTER, ROUTE_METADATA, TIER_KEY

_ON = route_components_pb2.FilterConfig()
_ON.config.SetInParent()


def with_map(routes: EnvoyResource, program: Program, actions: RouteActions) -> EnvoyResource:
    """Return the route table with a program's element in it.

    Args:
        routes: The table without it.
        program: The ruleset's program for these cells, and what each of its texts means.
        actions: Make the routes.
    """
    tree = matcher_pb2.Matcher()
    tree.matcher_tree.input.CopyFrom(program_input(program.code))
    entries = tree.matcher_tree.exact_match_map.map
    for text, answer in program.answers.items():
        entries[text].CopyFrom(to_route(_route(answer, actions)))
    if not program.answers:
        return routes

    def put_in(matcher: Matcher) -> bool:
        rules = matcher_pb2.Matcher()
        rules.CopyFrom(matcher)
        decided = rules.matcher_list.matchers.pop(0)
        if not rules.matcher_list.matchers:
            # A matcher that only has this leads everything there; Envoy refuses an empty list.
            rules.ClearField("matcher_list")
        tree.on_no_match.matcher.CopyFrom(rules)
        matcher.Clear()
        matcher.matcher_list.matchers.append(decided)
        matcher.on_no_match.matcher.CopyFrom(tree)
        return True

    return _edited(routes, put_in)


def without_map(routes: EnvoyResource) -> EnvoyResource:
    """Return the route table that `with_map` was given; another one as it is."""

    def take_out(matcher: Matcher) -> bool:
        tree = matcher.on_no_match.matcher
        if tree.matcher_tree.input.name != PROGRAM_INPUT:
            return False
        rules = matcher_pb2.Matcher()
        rules.CopyFrom(tree.on_no_match.matcher)
        matcher.matcher_list.matchers.extend(rules.matcher_list.matchers)
        matcher.on_no_match.CopyFrom(rules.on_no_match)
        return True

    return _edited(routes, take_out)


def _edited(routes: EnvoyResource, edit: Callable[[Matcher], bool]) -> EnvoyResource:
    """Return the table with its matchers edited; as it is if ``edit`` has changed none."""
    message = route_pb2.RouteConfiguration.FromString(routes.body)
    changed = [edit(host.matcher) for host in message.virtual_hosts]
    if not any(changed):
        return routes
    body = message.SerializeToString(deterministic=True)
    return EnvoyResource(routes.type_url, routes.name, body)


def _route(answer: Answer, actions: RouteActions) -> route_components_pb2.Route:
    route = actions.route(answer.outcome, answer.rule)
    if answer.tier == EDGE_MAP_TIER:
        # A header would cost each request something; the debug filter reads it from here.
        route.metadata.filter_metadata[ROUTE_METADATA].update({TIER_KEY: answer.tier})
        if route.HasField("route"):
            route.typed_per_filter_config[MAP_MISDIRECTED_FILTER].Pack(_ON)
    return route
