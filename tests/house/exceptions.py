"""What breaks a rule of the house today, with the reason. An exception that excuses nothing fails.

Each is `what the checker names: why it is so`. The lists are meant to be empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

PLACES: dict[str, str] = {
    "control_plane/names.py": "type URLs, headers and limits move here next",
}
"""Places of the table where no file lies."""

HOMELESS: dict[str, str] = {
    "control_plane/local_edge.py": "only the cli starts it, and it imports the server: cli/",
    "control_plane/traffic.py": "settings → TrafficPolicy: belongs to the composition root",
}
"""Files outside all rooms; nobody looks at what they import."""

_NAMES = "one module is to define it: names.py, or the room below both"
_AGAIN = "to be written once"
_RULES = "moves to another room, or the table changes"
_SERVICE = "metrics take values, not what a service hands out"

ARROWS: dict[tuple[str, str], str] = {
    (
        "control_plane.api.routes.fleet",
        "control_plane.jobs.edge_decisions",
    ): "what the route shows belongs below both",
    (
        "control_plane.classifier.cache.tiered",
        "control_plane.classifier.cache.redis",
    ): "a circle, hidden in a function",
    (
        "control_plane.classifier.worker.main",
        "control_plane.metrics.aggregate",
    ): "the classifier's own metrics are to be its own room's",
    (
        "control_plane.classifier.worker.main",
        "control_plane.server",
    ): "costs each worker 70 MiB",
    (
        "control_plane.cli.local",
        "control_plane.jobs.change_retention",
    ): _RULES,
    **{
        ("control_plane.cli.rule_cases", f"control_plane.topology.values.{name}"): _RULES
        for name in ("cell", "claim_key", "endpoint", "errors")
    },
    ("control_plane.cli.run", "control_plane.xds.fleet.node"): _RULES,
    (
        "control_plane.metrics.aggregate",
        "control_plane.classifier.cache.tiered",
    ): _SERVICE,
    ("control_plane.metrics.server", "control_plane.edge_health.book"): _SERVICE,
    ("control_plane.metrics.server", "control_plane.topology.cells.sequences"): _SERVICE,
    ("control_plane.metrics.server", "control_plane.topology.claims.records"): _SERVICE,
    ("control_plane.metrics.server", "control_plane.xds.fleet.fleet"): _SERVICE,
    ("control_plane.metrics.server", "control_plane.xds.session.status"): _SERVICE,
    **{
        ("control_plane.publisher.publisher", f"control_plane.routing.rules.{name}"): _RULES
        for name in ("parse", "ruleset")
    },
    (
        "control_plane.settings",
        "control_plane.grpc_api.auth.identity",
    ): "settings are to read roles as plain text",
    (
        "control_plane.topology.lookup.interface",
        "control_plane.topology.claims.epochs",
    ): "upwards",
    (
        "control_plane.xds.server.stream",
        "control_plane.xds.server.server",
    ): "a circle, hidden under TYPE_CHECKING",
    (
        "control_plane.xds.session.delta",
        "control_plane.xds.server.delta_request",
    ): "upwards",
    (
        "control_plane.xds.snapshot",
        "control_plane.xds.server.delta_request",
    ): "upwards",
    (
        "tests.support.test_envoy_process",
        "tests.e2e.edge",
    ): "what several rooms use imports none of them",
}
"""(importer, target) of imports that the table doesn't allow, or that close a circle."""

FILES: dict[str, str] = {
    "tests/topology/test_state_machine.py": "to be parted by subject",
    "tests/xds/session/test_sessions.py": "to be parted by subject",
    "tests/topology/claims/test_leases.py": "to be parted by subject",
    "tests/e2e/test_smuggling.py": "to be parted by subject",
    "tests/topology/test_service.py": "to be parted by subject",
    "tests/xds/server/test_conformance_streams.py": "to be parted by subject",
    "tests/grpc_api/test_claims.py": "to be parted by subject",
}
"""Files of more lines than a file may have."""

FUNCTIONS: dict[str, str] = {}
"""``path:name`` of functions of more lines than a function may have."""

CONSTANTS: dict[str, str] = {
    "CELL_HEADER = 'x-cellway-cell'": _NAMES,
    "DIFFERENT = 2": _NAMES,
    "EPOCHS_FILTER = 'cellway.epochs'": _NAMES,
    "MAX_BATCH = 256": _NAMES,
    "MAX_CELL_ID = 2 ** 31 - 1": _NAMES,
    "MAX_DOCUMENT_BYTES = 1 << 20": _NAMES,
    "MAX_KEY_CHARS = 255": _NAMES,
    "MAX_LINE_BYTES = 64 * 1024": _NAMES,
    "MAX_PAGE = 1000": _NAMES,
    "MAX_PAUSE_S = 2.0": _NAMES,
    "MAX_REASON = 1024": _NAMES,
    "MAX_RECORDS = 1000": _NAMES,
    "MAX_WAITING = 1024": _NAMES,
    "POLL_S = 0.05": _NAMES,
    "POLL_S = 0.5": _NAMES,
    "RETRY_S = 1.0": _NAMES,
    "RULESET_CONTEXT = 'ruleset'": _NAMES,
    "RULE_HEADER = 'x-cellway-rule'": _NAMES,
    "SETTLE_S = 1.0": _NAMES,
    "TIER_HEADER = 'x-cellway-tier'": _NAMES,
    "TYPE = 'type.googleapis.com/envoy.'": _NAMES,
}
"""``NAME = value`` that two modules of control_plane define."""

WIRE_NAMES: dict[str, str] = {
    "'type.googleapis.com/envoy.'": _NAMES,
    "'x-cellway-'": _NAMES,
    "'x-cellway-cell'": _NAMES,
    "'x-cellway-next'": _NAMES,
    "'x-cellway-revision'": _NAMES,
    "'x-cellway-rule'": _NAMES,
    "'x-cellway-tier'": _NAMES,
}
"""Type URLs and headers that two modules of control_plane spell out."""

REPEATS: dict[str, str] = {
    "control_plane/api/schemas/operator_responses.py": _AGAIN,
    "control_plane/edge_agent/metrics.py": _AGAIN,
    "control_plane/grpc_api/metrics.py": _AGAIN,
    "control_plane/grpc_api/services/claims.py": _AGAIN,
    "control_plane/grpc_api/services/first_claims.py": _AGAIN,
    "control_plane/metrics/aggregate.py": _AGAIN,
    "control_plane/metrics/server.py": _AGAIN,
    "control_plane/topology/claims/plain.py": _AGAIN,
    "control_plane/topology/operations.py": _AGAIN,
    "control_plane/topology/storage/schema.py": _AGAIN,
    "control_plane/topology/values/cell.py": _AGAIN,
    "control_plane/topology/values/change.py": _AGAIN,
    "control_plane/topology/values/claim.py": _AGAIN,
    "tests/e2e/cell_server.py": _AGAIN,
    "tests/e2e/dns_server.py": _AGAIN,
    "tests/e2e/edge_client.py": _AGAIN,
    "tests/e2e/load.py": _AGAIN,
    "tests/e2e/named_backends.py": _AGAIN,
    "tests/e2e/soak.py": _AGAIN,
    "tests/e2e/steady_clients.py": _AGAIN,
    "tests/e2e/talking_cells.py": _AGAIN,
    "tests/e2e/tenant_cells.py": _AGAIN,
    "tests/e2e/test_changes.py": _AGAIN,
    "tests/e2e/test_retries.py": _AGAIN,
    "tests/grpc_api/test_manners.py": _AGAIN,
    "tests/support/agent_process.py": _AGAIN,
    "tests/support/envoy_process.py": _AGAIN,
    "tests/support/plane_process.py": _AGAIN,
    "tests/support/raw_http.py": _AGAIN,
    "tests/support/raw_http2.py": _AGAIN,
    "tests/support/up_process.py": _AGAIN,
    "tests/xds/server/test_conformance.py": _AGAIN,
    "tests/xds/server/test_conformance_streams.py": _AGAIN,
    "tests/xds/server/test_conformance_wildcard.py": _AGAIN,
}
"""Files that share a run of lines with another file of this list, or with themselves."""

SILENT: dict[str, str] = {}
"""Files with code and without a docstring."""

ASSERTED: dict[str, str] = {
    "control_plane/server.py: assert plane.live is not None": "a part of one role is to be a type",
    "control_plane/server.py: assert plane.pools is not None": "a part of one role is to be a type",
}
"""``path: text`` of assertions in the composition root that a part exists."""


def judge(broken: Mapping[str, object] | Iterable[str], exceptions: Mapping[str, str]) -> list[str]:
    """Return what breaks a rule without an exception, and the exceptions that excuse nothing.

    Args:
        broken: the names of what breaks the rule, or these names with what is to be shown.
        exceptions: names with reasons.
    """
    shown = broken if isinstance(broken, Mapping) else {name: name for name in broken}
    return [
        *sorted(f"breaks the rule: {shown[name]}" for name in shown.keys() - exceptions.keys()),
        *sorted(
            f"needs no exception any more: {name}" for name in exceptions.keys() - shown.keys()
        ),
    ]
