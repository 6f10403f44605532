"""The table of the house: the rooms, and the rooms that each of them may import."""

from __future__ import annotations

from tests.house.rooms import Room, room

ROOMS: list[Room] = [
    room("control_plane/names.py"),
    room("control_plane/foreign_text.py"),
    room("control_plane/process/"),
    room("control_plane/settings/"),
    room("control_plane/shipped.py"),
    room("control_plane/routing/", imports=["names"]),
    room(
        "control_plane/compiler/", imports=["names", "routing", "shipped", "topology/values"]
    ),
    room("control_plane/xds/", imports=["names"]),
    room("control_plane/xds/session/", imports=["names", "xds/*.py"]),
    room("control_plane/xds/fleet/", imports=["names", "xds/*.py", "xds/session"]),
    room("control_plane/xds/server/", imports=["names", "xds/*.py", "xds/fleet", "xds/session"]),
    room("control_plane/topology/values/", imports=["names"]),
    room(
        "control_plane/topology/storage/",
        "control_plane/topology/migrations/",
        imports=["names", "topology/values"],
    ),
    room(
        "control_plane/topology/cells/",
        "control_plane/topology/lookup/",
        "control_plane/topology/changes.py",
        "control_plane/topology/edge_secrets.py",
        "control_plane/topology/operations.py",
        "control_plane/topology/rulesets.py",
        "control_plane/topology/tokens.py",
        imports=["names", "topology/storage", "topology/values"],
    ),
    room(
        "control_plane/topology/claims/",
        imports=[
            "names",
            "topology/cells",
            "topology/changes",
            "topology/lookup",
            "topology/operations",
            "topology/rulesets",
            "topology/storage",
            "topology/tokens",
            "topology/values",
        ],
    ),
    room(
        "control_plane/topology/maintenance/",
        imports=[
            "names",
            "topology/cells",
            "topology/changes",
            "topology/claims",
            "topology/lookup",
            "topology/operations",
            "topology/rulesets",
            "topology/storage",
            "topology/tokens",
            "topology/values",
        ],
    ),
    room("control_plane/topology/", imports=["names", "topology"]),
    room("control_plane/edge_health/"),
    room("control_plane/publisher/", imports=["compiler", "names", "routing", "topology", "xds"]),
    room(
        "control_plane/classifier/",
        imports=["foreign_text", "names", "process", "routing", "topology"],
    ),
    room("control_plane/grpc_api/", imports=["names", "process", "topology"]),
    room("control_plane/jobs/", imports=["edge_health", "names", "topology"]),
    room("control_plane/metrics/", imports=["names", "routing", "topology/values"]),
    room("control_plane/edge_agent/", imports=["edge_health", "names", "process", "xds"]),
    room("control_plane/edge_module/", imports=["shipped"]),
    room(
        "control_plane/api/",
        imports=[
            "edge_health",
            "grpc_api/services/gateway",
            "names",
            "routing",
            "topology",
            "xds/fleet",
        ],
    ),
    room("control_plane/cli/", imports=["cli", "foreign_text", "names", "routing", "shipped"]),
    room(
        "control_plane/cli/rule_cases.py",
        "control_plane/cli/rule_case_results.py",
        imports=["cli", "names", "routing", "topology/values"],
    ),
    room(
        "control_plane/cli/local/",
        imports=[
            "cli",
            "compiler",
            "edge_agent",
            "foreign_text",
            "names",
            "process",
            "server",
            "settings",
            "topology",
        ],
    ),
    room("control_plane/server/", imports=["control_plane"]),
    room(
        "control_plane/examples/",
        "control_plane/demo.py",
        "control_plane/example_cell.py",
        imports=["control_plane"],
    ),
    room("addons/", imports=["foreign_text", "names", "routing"]),
    room("bench/", imports=["addons", "control_plane", "tests/support"]),
    room("proto/"),
    room("requirements/"),
    room("tests/", imports=["addons", "bench", "control_plane", "proto", "requirements"]),
]
"""The rules of the house. CONTRIBUTING.md shows the same table, with what lives in each room."""
