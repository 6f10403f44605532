"""What an outcome is for Envoy, read back by another library than the one that wrote it."""

from __future__ import annotations

import pytest
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.route import v3 as route

from control_plane.compiler.model import TrafficPolicy
from control_plane.compiler.route_actions import HOST_TRIES, RETRIES, RETRY_ON, RouteActions
from control_plane.names import CELL_HEADER, RULE_HEADER
from control_plane.routing.model import Outcome, Status, ToCell, Weighted
from control_plane.routing.rules.parse import parse

RULE = parse([{"id": "tenant", "action": "proxy"}]).rules[0]


def written(
    outcome: Outcome, *, ruled: bool = True, spread: tuple[str, ...] = (), timeout_s: float = 0
) -> route.Route:
    actions = RouteActions(TrafficPolicy(request_timeout_s=timeout_s), frozenset(spread))
    message = actions.route(outcome, RULE if ruled else None)
    return route.Route.parse(message.SerializeToString())


def headers(options: list[core.HeaderValueOption]) -> dict[str, str]:
    return {one.header.key: one.header.value for one in options if one.header is not None}


def test_a_cell_gets_the_request_with_cell_and_rule() -> None:
    made = written(ToCell("cell-1", 1), timeout_s=1.5)
    assert made.route is not None
    assert made.route.cluster == "cell:cell-1"
    assert made.route.timeout is not None
    assert made.route.timeout.total_seconds() == 1.5
    assert headers(made.request_headers_to_add) == {CELL_HEADER: "cell-1", RULE_HEADER: "tenant"}


def test_whoever_decided_before_has_set_the_headers() -> None:
    assert written(ToCell("cell-1", 1), ruled=False).request_headers_to_add == []


def test_weights_stay_and_each_cell_is_told_its_name() -> None:
    made = written(Weighted((("cell-1", 9), ("cell-2", 1))))
    assert made.route is not None
    assert made.route.weighted_clusters is not None
    shares = [(one.name, one.weight) for one in made.route.weighted_clusters.clusters]
    assert shares == [("cell:cell-1", 9), ("cell:cell-2", 1)]
    told = [headers(one.request_headers_to_add) for one in made.route.weighted_clusters.clusters]
    assert told == [{CELL_HEADER: "cell-1"}, {CELL_HEADER: "cell-2"}]
    assert headers(made.request_headers_to_add) == {RULE_HEADER: "tenant"}


@pytest.mark.parametrize(("code", "retry_after"), [(404, None), (503, 5), (418, None)])
def test_a_refusal_is_a_problem_document(code: int, retry_after: int | None) -> None:
    made = written(Status(code, retry_after))
    assert made.direct_response is not None
    assert made.direct_response.status == code
    assert made.direct_response.body is not None
    assert f'"status": {code}' in str(made.direct_response.body.inline_string)
    answer = headers(made.response_headers_to_add)
    assert answer.pop("content-type") == "application/problem+json"
    assert answer == ({} if retry_after is None else {"retry-after": "5"})
    assert made.metadata is not None
    assert made.metadata.filter_metadata["cellway"].to_dict() == {"rule": "tenant"}


@pytest.mark.parametrize("outcome", [ToCell("cell-2", 2), Weighted((("cell-1", 1), ("cell-2", 1)))])
def test_only_with_another_endpoint_a_request_is_tried_again(outcome: Outcome) -> None:
    alone, spread = written(outcome), written(outcome, spread=("cell-2",))
    assert alone.route is not None
    assert spread.route is not None
    assert alone.route.retry_policy is None
    policy = spread.route.retry_policy
    assert policy is not None
    assert (policy.retry_on, policy.num_retries) == (RETRY_ON, RETRIES)
    assert policy.host_selection_retry_max_attempts == HOST_TRIES
    assert "5xx" not in RETRY_ON
