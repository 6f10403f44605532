"""JWTs of the OIDC issuer at the REST API, and the fetches of its keys."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from control_plane.metrics.catalogue import counter


class OidcMetrics:
    """The metrics of OIDC; the observer of its verifier."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._tokens = counter(registry, "cellway_oidc_tokens_total", "outcome")
        self._fetches = counter(registry, "cellway_oidc_key_fetches_total", "outcome")

        # Shown from the start, so that a first failure is an increase.
        for outcome in ("accepted", "invalid", "no-scope", "no-keys"):
            self._tokens.labels(outcome)
        for outcome in ("ok", "failed"):
            self._fetches.labels(outcome)

    def judged(self, outcome: str) -> None:
        """Count a token: accepted, invalid, no-scope or no-keys."""
        self._tokens.labels(outcome).inc()

    def fetched(self, outcome: str) -> None:
        """Count a fetch of the issuer's keys: ok or failed."""
        self._fetches.labels(outcome).inc()
