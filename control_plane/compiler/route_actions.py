"""Translates an outcome of `control_plane.routing` into a route of Envoy."""

from __future__ import annotations

from collections.abc import Container, Iterable

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2

from control_plane.compiler.model import TrafficPolicy
from control_plane.names import CELL_HEADER, ROUTE_METADATA, RULE_HEADER, cell_cluster
from control_plane.routing.model import Outcome, Reason, Status, ToCell
from control_plane.routing.rules.ruleset import Rule

RETRY_ON = "connect-failure,refused-stream,reset-before-request"
"""What no cell can have seen, whatever the method (ADR 15): no connection, a stream that the cell
says it has not looked at, a reset before anything was written. Everything else may have reached the
cell, also over a connection that it closes meanwhile."""
RETRIES = 2
HOST_TRIES = 5
"""How often another endpoint is drawn where one was tried already."""
_TITLES = {
    Reason.NO_RULE: "no rule of the ruleset takes this request",
    Reason.UNKNOWN: "no such tenant or page is known here",
    Reason.INVALID: "a token of this request can't be read",
    Reason.CELL_DOWN: "its cell is down, or takes no requests now",
    Reason.CLASSIFIER_DOWN: "which cell has it can't be told now: no classifier answers",
    Reason.CELL_NOT_HERE: "this edge does not know its cell yet, or no longer has it",
    Reason.FROZEN: "its tenant is being moved; try again",
    Reason.MISDIRECTED: "its cell says that it has moved; try again",
    Reason.RULESET: "refused by the ruleset",
}
_OVERWRITE = base_pb2.HeaderValueOption.HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD


class RouteActions:
    """Makes the routes of one edge."""

    def __init__(self, policy: TrafficPolicy, spread: Container[str]) -> None:
        """``spread`` holds the names of the cells that have several endpoints."""
        self._timeout_ms = round(policy.request_timeout_s * 1000)
        self._spread = spread

    def route(self, outcome: Outcome, rule: Rule | None) -> route_components_pb2.Route:
        """Return a route that takes any path.

        Args:
            rule: The rule that decides; cell and rule are then added to the request. None: the
                request has both already, from who decided.
        """
        if isinstance(outcome, Status):
            return _refuse(outcome, rule)
        route = _any_path()
        if rule is not None:
            route.request_headers_to_add.append(_header(RULE_HEADER, rule.id))
        action = route.route
        action.timeout.FromMilliseconds(self._timeout_ms)
        if isinstance(outcome, ToCell):
            action.cluster = cell_cluster(outcome.cell)
            self._retry(action, [outcome.cell])
            if rule is not None:
                route.request_headers_to_add.append(_header(CELL_HEADER, outcome.cell))
            return route
        self._retry(action, [name for name, _ in outcome.choices])
        for name, weight in outcome.choices:
            target = action.weighted_clusters.clusters.add(name=cell_cluster(name))
            target.weight.value = weight
            target.request_headers_to_add.append(_header(CELL_HEADER, name))
        return route

    def _retry(self, action: route_components_pb2.RouteAction, cells: Iterable[str]) -> None:
        """Try again where a cell has another endpoint; being prepared for that costs 7 %."""
        if any(name in self._spread for name in cells):
            action.retry_policy.CopyFrom(_RETRY_ELSEWHERE)


def _retry_elsewhere() -> route_components_pb2.RetryPolicy:
    """Build the retry policy for cells with several endpoints.

    Endpoints that were tried are passed over: a dead one has the fewest requests under way, so that
    the balancer likes it best. With two endpoints of which one was dead, a quarter of the requests
    got 503 when one retry could go to either.
    """
    policy = route_components_pb2.RetryPolicy(retry_on=RETRY_ON)
    policy.num_retries.value = RETRIES
    tried = policy.retry_host_predicate.add(name="envoy.retry_host_predicates.previous_hosts")
    tried.typed_config.Pack(previous_hosts_pb2.PreviousHostsPredicate())
    policy.host_selection_retry_max_attempts = HOST_TRIES
    return policy


_RETRY_ELSEWHERE = _retry_elsewhere()


def _any_path() -> route_components_pb2.Route:
    route = route_components_pb2.Route()
    route.match.prefix = "/"
    return route


def refusal_text(refusal: Status) -> str:
    """Return the body of a refusal."""
    title = _TITLES[refusal.reason]
    return (
        f'{{"status": {refusal.code}, "title": "cellway: {title}", "reason": "{refusal.reason}"}}\n'
    )


def _refuse(refusal: Status, rule: Rule | None) -> route_components_pb2.Route:
    route = _any_path()
    route.direct_response.status = refusal.code
    route.direct_response.body.inline_string = refusal_text(refusal)
    answer = {"content-type": "application/problem+json"}
    if refusal.retry_after is not None:
        answer["retry-after"] = str(refusal.retry_after)
    for name, value in answer.items():
        option = route.response_headers_to_add.add(append_action=_OVERWRITE)
        option.header.key, option.header.value = name, value
    if rule is not None:
        route.metadata.filter_metadata[ROUTE_METADATA].update({"rule": rule.id})
    return route


def _header(name: str, value: str) -> base_pb2.HeaderValueOption:
    # Internal headers are taken off each request as it comes in, so there is none to overwrite;
    # looking for one takes longer than all the rest.
    return base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=name, value=value),
        append_action=base_pb2.HeaderValueOption.HeaderAppendAction.APPEND_IF_EXISTS_OR_ADD,
    )
