"""Reads a compiled route table as Envoy does: from the headers of a request to a route."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.type.matcher.v3 import http_inputs_pb2

from control_plane.compiler.model import TrafficPolicy
from control_plane.compiler.routes import AnalysedRuleset, compile_routes
from control_plane.names import CELL_HEADER, RULE_HEADER
from control_plane.routing.matching import join_headers
from control_plane.routing.model import Cells, Outcome, Request, Status, ToCell, Weighted
from control_plane.routing.rules.regex import Regex
from control_plane.routing.rules.ruleset import Ruleset

Headers = Mapping[str, bytes]


class RouteTable:
    """The route table of a ruleset."""

    def __init__(
        self,
        ruleset: Ruleset,
        cells: Cells,
        policy: TrafficPolicy | None = None,
        spread: frozenset[str] = frozenset(),
    ) -> None:
        made = compile_routes(AnalysedRuleset.of(ruleset), cells, policy or TrafficPolicy(), spread)
        routes = route_pb2.RouteConfiguration.FromString(made.body)
        (host,) = routes.virtual_hosts
        self.matcher = host.matcher

    def route(self, request: Request, **internal: str) -> Any:
        """The route that Envoy takes; ``internal`` headers as filters would have set them."""
        headers = join_headers(request) | {
            ":method": request.method.encode(),
            ":path": request.path,
            ":authority": request.authority,
        }
        headers |= {name.replace("_", "-"): text.encode() for name, text in internal.items()}
        route = take(self.matcher, headers)
        assert route is not None, "every request gets a route"
        return route


def take(matcher: Any, headers: Headers) -> Any:
    """The route of the first element that leads to one; a miss further in goes on."""
    for element in matcher.matcher_list.matchers:
        if holds(element.predicate, headers):
            route = _follow(element.on_match, headers)
            if route is not None:
                return route
    if matcher.HasField("matcher_tree"):
        value = headers.get(_input(matcher.matcher_tree.input))
        branches = matcher.matcher_tree.exact_match_map.map
        text = value.decode("latin-1") if value is not None else None
        if text is not None and text in branches:
            return _follow(branches[text], headers)
    return _follow(matcher.on_no_match, headers) if matcher.HasField("on_no_match") else None


def _follow(on_match: Any, headers: Headers) -> Any:
    if on_match.HasField("matcher"):
        return take(on_match.matcher, headers)
    route = route_components_pb2.Route()
    assert on_match.action.typed_config.Unpack(route)
    return route


def holds(predicate: Any, headers: Headers) -> bool:
    """Whether a predicate holds."""
    kind = predicate.WhichOneof("match_type")
    if kind == "not_matcher":
        return not holds(predicate.not_matcher, headers)
    if kind == "and_matcher":
        return all(holds(one, headers) for one in predicate.and_matcher.predicate)
    if kind == "or_matcher":
        return any(holds(one, headers) for one in predicate.or_matcher.predicate)
    single = predicate.single_predicate
    value = headers.get(_input(single.input))
    return value is not None and _matches(single.value_match, value)


def _matches(string: Any, value: bytes) -> bool:
    kind = string.WhichOneof("match_pattern")
    if kind == "safe_regex":
        return Regex(f"^(?:{string.safe_regex.regex})$").matches(value)
    if kind == "contains":
        return string.contains.encode() in value
    assert kind == "prefix"
    return value.startswith(string.prefix.encode())


def _input(config: Any) -> str:
    message = http_inputs_pb2.HttpRequestHeaderMatchInput()
    assert config.typed_config.Unpack(message)
    return str(message.header_name)


def outcome(route: Any) -> Outcome:
    """What a route does with a request, in the words of the evaluator."""
    if route.HasField("direct_response"):
        answer = {one.header.key: one.header.value for one in route.response_headers_to_add}
        retry_after = answer.get("retry-after")
        code = route.direct_response.status
        return Status(code, None if retry_after is None else int(retry_after))
    weighted = route.route.weighted_clusters.clusters
    if weighted:
        return Weighted(
            tuple((one.name.removeprefix("cell:"), one.weight.value) for one in weighted)
        )
    name = route.route.cluster.removeprefix("cell:")
    return ToCell(name, int(name.rpartition("-")[2]))


def added(route: Any) -> dict[str, str]:
    """The headers that a route adds to the request."""
    return {one.header.key: one.header.value for one in route.request_headers_to_add}


def rule(route: Any) -> str | None:
    """The rule that a route names."""
    stated = dict(route.metadata.filter_metadata["cellway"]).get("rule")
    return added(route).get(RULE_HEADER) or stated


def cell(route: Any) -> str | None:
    """The cell that a route names to itself."""
    return added(route).get(CELL_HEADER)
