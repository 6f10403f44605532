"""What Envoy tries again: requests that no cell can have seen, whatever their method (ADR 15)."""

from __future__ import annotations

from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2

UNSEEN = "connect-failure,refused-stream,reset-before-request"
"""No connection, a stream that the cell says it has not looked at, a reset before anything was
written. Everything else may have reached the cell, a connection that it closes meanwhile too."""
RETRIES = 2
HOST_TRIES = 5
"""How often another endpoint is drawn where one was tried already."""


def _elsewhere() -> route_components_pb2.RetryPolicy:
    """Build the policy for cells with several endpoints.

    Endpoints that were tried are passed over: a dead one has the fewest requests under way, so that
    the balancer likes it best. With two endpoints of which one was dead, a quarter of the requests
    got 503 when one retry could go to either.
    """
    policy = route_components_pb2.RetryPolicy(retry_on=UNSEEN)
    policy.num_retries.value = RETRIES
    tried = policy.retry_host_predicate.add(name="envoy.retry_host_predicates.previous_hosts")
    tried.typed_config.Pack(previous_hosts_pb2.PreviousHostsPredicate())
    policy.host_selection_retry_max_attempts = HOST_TRIES
    return policy


RETRY_ELSEWHERE = _elsewhere()
