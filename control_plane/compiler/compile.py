"""Compiles everything that a fleet needs, from one revision of the topology."""

from __future__ import annotations

from collections.abc import Sequence

from control_plane.compiler.clusters import compile_cell, compile_classifier
from control_plane.compiler.listener import compile_debug_filter, compile_listener
from control_plane.compiler.model import EnvoyResource, TrafficPolicy, UpstreamCell
from control_plane.compiler.native import Analysed, analyse
from control_plane.compiler.routes import compile_routes
from control_plane.routing.model import Cells
from control_plane.routing.ruleset import Ruleset


def compile_edge(
    cells: Sequence[UpstreamCell], ruleset: Ruleset, policy: TrafficPolicy, revision: int
) -> tuple[EnvoyResource, ...]:
    """All resources of the edge. The same input gives the same bytes.

    Leave retired cells out. ``revision`` shows up in the debug filter only.
    """
    return EdgeCompiler(policy).compile(cells, ruleset, revision)


class EdgeCompiler:
    """Compiles again and again, and does over only what has changed.

    Keeps the newest of each input and its output: what it gives is what `compile_edge` gives.
    """

    def __init__(self, policy: TrafficPolicy) -> None:
        self._policy = policy
        self._ruleset: Ruleset | None = None
        self._analysed: tuple[Analysed, ...] = ()
        self._listener: EnvoyResource | None = None
        self._routes: tuple[object, EnvoyResource] | None = None
        self._cells: dict[str, tuple[UpstreamCell, tuple[EnvoyResource, ...]]] = {}
        self._classifier = compile_classifier(policy.classifiers, policy)

    def compile(
        self, cells: Sequence[UpstreamCell], ruleset: Ruleset, revision: int
    ) -> tuple[EnvoyResource, ...]:
        """All resources of the edge at a revision."""
        if self._listener is None or ruleset is not self._ruleset:
            self._analysed = tuple(analyse(rule) for rule in ruleset.rules)
            self._ruleset = ruleset
            self._listener = compile_listener(ruleset, self._analysed, self._policy)
            self._routes = None
        resources: list[EnvoyResource] = []
        self._cells = {cell.name: self._cell(cell) for cell in sorted(cells, key=_by_id)}
        for _, compiled in self._cells.values():
            resources += compiled
        resources.append(self._classifier)
        resources.append(self._listener)
        resources.append(self._routes_for(cells, ruleset))
        if self._policy.debug_networks:
            resources.append(compile_debug_filter(revision))
        return tuple(resources)

    def _cell(self, cell: UpstreamCell) -> tuple[UpstreamCell, tuple[EnvoyResource, ...]]:
        kept = self._cells.get(cell.name)
        if kept is not None and kept[0] == cell:
            return kept
        return cell, tuple(compile_cell(cell, self._policy))

    def _routes_for(self, cells: Sequence[UpstreamCell], ruleset: Ruleset) -> EnvoyResource:
        index = Cells(cells)
        spread = frozenset(cell.name for cell in cells if _is_spread(cell))
        # All that routes depend on of a cell; its endpoints' addresses, for one, are not.
        key = (
            spread,
            tuple(
                (c.id, c.name, c.address, c.session_prefix, c.serving, c.accepts_new, c.weight)
                for c in index.all
            ),
        )
        if self._routes is None or self._routes[0] != key:
            made = compile_routes(ruleset, self._analysed, index, self._policy, spread)
            self._routes = key, made
        return self._routes[1]


def _is_spread(cell: UpstreamCell) -> bool:
    """Whether there may be another endpoint to try; a DNS name may have several addresses."""
    return len(cell.endpoints) > 1 or not all(endpoint.is_ip for endpoint in cell.endpoints)


def _by_id(cell: UpstreamCell) -> int:
    return cell.id
