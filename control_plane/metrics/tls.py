"""Whether TLS files that were replaced can be used."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry

from control_plane.metrics.catalogue import gauge

PORTS = ("api", "classifier", "grpc")


class TlsMetrics:
    """The metrics of the TLS files of each port. A port in plaintext has no trouble with them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._unusable = gauge(registry, "cellway_tls_unusable", "port")
        for port in PORTS:
            self._unusable.labels(port)

    def watch(self, port: str, usable: Callable[[], bool]) -> None:
        """Have each scrape ask whether a port's files can be used; threads may call it."""
        self._unusable.labels(port).set_function(lambda: float(not usable()))
