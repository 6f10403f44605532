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
    (
        "control_plane.cli.rule_cases",
        "control_plane.api.problem",
    ): "the cli is a client of the API",
    (
        "control_plane.cli.rule_cases",
        "control_plane.api.routes.explain",
    ): "the cli is a client of the API",
    **{
        ("control_plane.cli.rule_cases", f"control_plane.topology.values.{name}"): _RULES
        for name in ("cell", "claim_key", "endpoint", "errors")
    },
    ("control_plane.cli.run", "control_plane.xds.fleet.node"): _RULES,
    (
        "control_plane.compiler.native.key_tree",
        "control_plane.compiler.matchers",
    ): "a circle with matchers → native.analyse",
    (
        "control_plane.jobs.edge_decisions",
        "control_plane.compiler.model",
    ): "a name that names.py is to hold",
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
        "control_plane.routing.model",
        "control_plane.routing.admission.headers",
    ): "a circle with admission.admit → model",
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

FILES: dict[str, str] = {}
"""Files of more lines than a file may have."""

FUNCTIONS: dict[str, str] = {}
"""``path:name`` of functions of more lines than a function may have."""

CONSTANTS: dict[str, str] = {}
"""``NAME = value`` that two modules of control_plane define."""

WIRE_NAMES: dict[str, str] = {}
"""Type URLs and headers that two modules of control_plane spell out."""

REPEATS: dict[str, str] = {}
"""Files that share a run of lines with another file of this list, or with themselves."""


def judge(found: Iterable[str], exceptions: Mapping[str, str]) -> list[str]:
    """Return what breaks a rule without an exception, and the exceptions that excuse nothing."""
    broken = set(found)
    return [
        *sorted(f"breaks the rule: {one}" for one in broken - exceptions.keys()),
        *sorted(f"needs no exception any more: {one}" for one in exceptions.keys() - broken),
    ]
