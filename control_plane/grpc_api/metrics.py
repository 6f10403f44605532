"""Metrics of the Topology Service: calls by method and status, refusals, TLS failures."""

from __future__ import annotations

from collections.abc import Callable

import grpc
from prometheus_client import CollectorRegistry, Counter, Histogram

_SECONDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5)


class GrpcMetrics:
    """The metrics of the gRPC port.

    ``cellway_grpc_seconds{method,code}`` times calls; its count is the number of calls.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "cellway_grpc_seconds",
            "Time of a Topology Service call in the server",
            ["method", "code"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._refused = Counter(
            "cellway_grpc_refusals_total",
            "Calls that the caller's certificate does not allow",
            ["method", "code"],
            registry=registry,
        )
        self._tls_failures = Counter(
            "cellway_grpc_tls_reload_failures_total",
            "TLS files that were replaced by ones that can't be used",
            registry=registry,
        )
        self._peer_refusals = Counter(
            "cellway_grpc_peer_refusals_total",
            "Calls of peers that had as many under way as one peer may",
            ["method"],
            registry=registry,
        )
        self._by_call: dict[tuple[str, grpc.StatusCode], Histogram] = {}

    def called(self, method: str, code: grpc.StatusCode, seconds: float) -> None:
        """Record that a call of ``/service/method`` ended with this status."""
        child = self._by_call.get((method, code))
        if child is None:
            # Only methods that are served get here, so their number is bounded.
            child = self._seconds.labels(method, code.name)
            self._by_call[method, code] = child
        child.observe(seconds)

    def refused(self, method: str, code: grpc.StatusCode) -> None:
        """Record that a call was refused as UNAUTHENTICATED or PERMISSION_DENIED."""
        self._refused.labels(method, code.name).inc()

    def peer_refused(self, method: str) -> None:
        """Record that a peer had too many calls under way for one more of ``/service/method``."""
        self._peer_refusals.labels(method).inc()

    def tls_failed(self) -> None:
        """Record that the TLS files were replaced by ones that can't be used."""
        self._tls_failures.inc()


def gateway_counter(registry: CollectorRegistry) -> Callable[[grpc.StatusCode], None]:
    """Return a function that counts an answer in ``cellway_classify_rest_total{code}``."""
    calls = Counter(
        "cellway_classify_rest_total", "Answers of POST /v1/classify", ["code"], registry=registry
    )

    def called(code: grpc.StatusCode) -> None:
        calls.labels(code.name).inc()

    return called
