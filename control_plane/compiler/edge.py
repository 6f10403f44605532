"""Compiles everything that a fleet needs, from one revision of the topology.

A thousand cells are a thousand clusters and a route table that names them all: to compile and
compare all of that for each change takes 0.2 s. Most changes touch one cell, and most of those
change nothing that routes depend on. So `EdgeCompiler` keeps what it has made, by cell, together
with the *facet* of the cell that routes see. If cell-7 gets another endpoint, the update is one
cluster:

    Update(put=(EnvoyResource(CDS, "cell:cell-7", …), EnvoyResource(ECDS, "cellway.debug", …)),
           dropped=())

If cell-7 goes down, its facet has changed, and the one route table is made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from control_plane.compiler.clusters import compile_cell, compile_classifier
from control_plane.compiler.debug_filter import compile_debug_filter
from control_plane.compiler.edge_map.variant import EdgeState, ModuleVariant
from control_plane.compiler.listener import compile_listener
from control_plane.compiler.model import EnvoyResource, TrafficPolicy, UpstreamCell
from control_plane.compiler.routes import AnalysedRuleset, compile_routes
from control_plane.names import ECDS, LDS, RDS
from control_plane.routing.model import Cells, in_service
from control_plane.routing.rules.ruleset import Ruleset


def compile_edge(
    cells: Sequence[UpstreamCell], ruleset: Ruleset, policy: TrafficPolicy, revision: int
) -> tuple[EnvoyResource, ...]:
    """Return all resources of the edge. The same input gives the same bytes.

    Args:
        cells: All cells; retired ones get no resources.
        revision: Shown by the debug filter, and by nothing else.
    """
    return EdgeCompiler(policy).compile(cells, ruleset, revision)


@dataclass(frozen=True, slots=True)
class Update:
    """What a compilation changes of the one before."""

    put: tuple[EnvoyResource, ...]
    """Resources that are new or have another content."""
    dropped: tuple[tuple[str, str], ...]
    """Type and name of each resource that is no more."""


@dataclass(frozen=True, slots=True)
class _CompiledCell:
    """A cell with what was made of it."""

    cell: UpstreamCell
    cluster: EnvoyResource
    spread: bool
    """Whether there may be another endpoint to try."""
    facet: tuple[object, ...]
    """All that routes depend on of the cell; the addresses of its endpoints are not in it."""


class EdgeCompiler:
    """Compiles one revision after another, and makes again only what has changed.

    All updates so far, put together, are what `compile_edge` gives. It is quickest if cells that
    have not changed are the same objects as before.
    """

    def __init__(self, policy: TrafficPolicy) -> None:
        self._policy = policy
        self._rules: AnalysedRuleset | None = None
        self._cells: dict[str, _CompiledCell] = {}
        self._classifier = compile_classifier(policy.classifiers, policy)
        self._shared: dict[str, EnvoyResource] = {}
        """What belongs to no cell, by type; without the classifier's cluster."""
        self._in_service: Sequence[UpstreamCell] = ()
        self._module: ModuleVariant | None = None
        """None until somebody has asked for the module's variant."""

    def compile(
        self, cells: Sequence[UpstreamCell], ruleset: Ruleset, revision: int
    ) -> tuple[EnvoyResource, ...]:
        """Return all resources of the edge at a revision."""
        self.update(cells, ruleset, revision)
        by_id = sorted(self._cells.values(), key=lambda one: one.cell.id)
        return (*(one.cluster for one in by_id), self._classifier, *self._shared.values())

    def update(self, cells: Sequence[UpstreamCell], ruleset: Ruleset, revision: int) -> Update:
        """Return what differs from the previous call; on the first call, all resources."""
        cells = in_service(cells)
        before, previous = self._cells, self._cells.get
        fresh = {
            cell.name: self._compile_cell(cell)
            for cell in cells
            if (old := previous(cell.name)) is None or (old.cell is not cell and old.cell != cell)
        }
        dropped = before.keys() - {cell.name for cell in cells}
        after = before | fresh
        for name in dropped:
            del after[name]
        shared, rules = self._compile_shared(cells, ruleset, revision, after, {*fresh, *dropped})
        update = _difference(before, fresh, dropped, self._shared, shared)
        if not self._shared:
            update = Update((*update.put, self._classifier), update.dropped)
        # All at once: what fails above leaves nothing half done.
        self._cells, self._shared, self._rules = after, shared, rules
        self._in_service = cells
        return update

    def module_variant(self, key: str) -> tuple[EnvoyResource, ...]:
        """Return what Envoys with the module get instead of resources of the last update.

        Args:
            key: The key of the owners' fingerprints, as 32 hexadecimal digits.
        """
        assert self._rules is not None
        self._module = self._module or ModuleVariant(self._policy)
        spread = self._spread(self._cells)
        state = EdgeState(self._in_service, self._rules.ruleset, spread, self._shared)
        return self._module.resources(state, key)

    def _compile_shared(
        self,
        cells: Sequence[UpstreamCell],
        ruleset: Ruleset,
        revision: int,
        after: Mapping[str, _CompiledCell],
        touched: AbstractSet[str],
    ) -> tuple[dict[str, EnvoyResource], AnalysedRuleset]:
        """Return listener, routes and debug filter, and the rules that routes are made from."""
        shared, rules = dict(self._shared), self._rules
        if not shared:
            shared[LDS] = compile_listener(self._policy)
        if rules is None or ruleset is not rules.ruleset:
            rules = AnalysedRuleset.of(ruleset)
        if rules is not self._rules or any(
            _facet(self._cells.get(name)) != _facet(after.get(name)) for name in touched
        ):
            shared[RDS] = compile_routes(rules, Cells(cells), self._policy, self._spread(after))
        if self._policy.debug_networks:
            shared[ECDS] = compile_debug_filter(revision)
        return shared, rules

    @staticmethod
    def _spread(cells: Mapping[str, _CompiledCell]) -> frozenset[str]:
        """Return the names of the cells that have several endpoints."""
        return frozenset(name for name, one in cells.items() if one.spread)

    def _compile_cell(self, cell: UpstreamCell) -> _CompiledCell:
        spread = _is_spread(cell)
        facet = (
            cell.id,
            cell.name,
            cell.address,
            cell.session_prefix,
            cell.serving,
            cell.accepts_new,
            cell.weight,
            spread,
        )
        return _CompiledCell(cell, compile_cell(cell, self._policy), spread, facet)


def _difference(
    before: Mapping[str, _CompiledCell],
    fresh: Mapping[str, _CompiledCell],
    dropped: Iterable[str],
    shared_before: Mapping[str, EnvoyResource],
    shared: Mapping[str, EnvoyResource],
) -> Update:
    old = {name: before[name].cluster for name in (*fresh, *dropped) if name in before}
    put = [one.cluster for name, one in fresh.items() if one.cluster != old.get(name)]
    put += [one for url, one in shared.items() if shared_before.get(url) is not one]
    removed = (old[name] for name in dropped)
    return Update(tuple(put), tuple((one.type_url, one.name) for one in removed))


def _facet(compiled: _CompiledCell | None) -> tuple[object, ...] | None:
    return None if compiled is None else compiled.facet


def _is_spread(cell: UpstreamCell) -> bool:
    """Return whether the cell may have several endpoints; a name may have several addresses."""
    return len(cell.endpoints) > 1 or not all(endpoint.is_ip for endpoint in cell.endpoints)
