"""Compiles everything that a fleet needs, from one revision of the topology."""

from __future__ import annotations

from collections.abc import Sequence

from control_plane.compiler.clusters import compile_cell, compile_classifier
from control_plane.compiler.listener import compile_debug_filter, compile_listener
from control_plane.compiler.model import EnvoyResource, TrafficPolicy, UpstreamCell
from control_plane.compiler.native import analyse
from control_plane.compiler.routes import compile_routes
from control_plane.routing.model import Cells
from control_plane.routing.ruleset import Ruleset


def compile_edge(
    cells: Sequence[UpstreamCell], ruleset: Ruleset, policy: TrafficPolicy, revision: int
) -> tuple[EnvoyResource, ...]:
    """All resources of the edge. The same input gives the same bytes.

    Leave retired cells out. ``revision`` shows up in the debug filter only.
    """
    index = Cells(cells)
    analysed = [analyse(rule, index) for rule in ruleset.rules]
    resources: list[EnvoyResource] = []
    for cell in sorted(cells, key=lambda one: one.id):
        resources += compile_cell(cell, policy)
    resources.append(compile_classifier(policy.classifiers, policy))
    resources.append(compile_listener(ruleset, analysed, policy))
    resources.append(compile_routes(ruleset, analysed, index, policy))
    if policy.debug_networks:
        resources.append(compile_debug_filter(revision))
    return tuple(resources)
