"""How an Envoy notices that it can't reach a classifier: it asks another one, and reports it.

The problem: an Envoy may run the newest revision and still reach no classifier, because of a
firewall or a wrong address. Nobody would know but the users whose look-ups fail. Two observations
make an endpoint of the classifiers' cluster unhealthy, which the agent then reports:

- A connection (with TLS, its handshake) fails `UNHEALTHY_THRESHOLD` times. This is probed, since a
  new Envoy has no traffic.
- Five questions in a row get no answer, or a 5xx: a process that hangs still accepts connections,
  and one without its database can't decide. (Every decision is a 200, whatever it is.)

An unhealthy endpoint gets no question while another one is healthy. If none is, all are asked as
before: these observations choose among classifiers, and forbid none.
"""

from __future__ import annotations

from envoy.config.cluster.v3 import cluster_pb2

INTERVAL_S = 5
UNHEALTHY_INTERVAL_S = 2
UNHEALTHY_THRESHOLD = 2
TIMEOUT_S = 1
FAILURES = 5
"""Questions in a row without an answer, or with 502, 503 or 504."""
EJECTED_S = 5
"""How long an endpoint that does not answer is left out; it is a little longer each time."""
MAX_EJECTED_S = 30


def watch_classifiers(cluster: cluster_pb2.Cluster) -> None:
    """Have Envoy watch the endpoints of the classifiers' cluster."""
    cluster.common_lb_config.healthy_panic_threshold.value = 1
    check = cluster.health_checks.add()
    check.tcp_health_check.SetInParent()
    check.timeout.FromSeconds(TIMEOUT_S)
    check.interval.FromSeconds(INTERVAL_S)
    check.interval_jitter_percent = 20
    check.unhealthy_threshold.value = UNHEALTHY_THRESHOLD
    check.healthy_threshold.value = 1
    check.no_traffic_interval.FromSeconds(INTERVAL_S)
    check.no_traffic_healthy_interval.FromSeconds(INTERVAL_S)
    check.unhealthy_interval.FromSeconds(UNHEALTHY_INTERVAL_S)
    _eject(cluster)


def _eject(cluster: cluster_pb2.Cluster) -> None:
    outliers = cluster.outlier_detection
    # Errors are not told apart by their origin: in that mode a connection that is made clears the
    # count, and a process that hangs lets connections be made.
    outliers.consecutive_gateway_failure.value = FAILURES
    outliers.enforcing_consecutive_gateway_failure.value = 100
    outliers.enforcing_consecutive_5xx.value = 0
    outliers.enforcing_success_rate.value = 0
    outliers.enforcing_failure_percentage.value = 0
    outliers.interval.FromSeconds(1)
    outliers.base_ejection_time.FromSeconds(EJECTED_S)
    outliers.max_ejection_time.FromSeconds(MAX_EJECTED_S)
    outliers.max_ejection_percent.value = 100
    # A process that hangs passes the check of connections.
    outliers.successful_active_health_check_uneject_host.value = False
