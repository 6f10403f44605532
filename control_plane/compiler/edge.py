"""Compiles everything that a fleet needs, from one revision of the topology."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from control_plane.compiler.clusters import compile_cell, compile_classifier
from control_plane.compiler.debug_filter import compile_debug_filter
from control_plane.compiler.listener import compile_listener
from control_plane.compiler.model import EnvoyResource, TrafficPolicy, UpstreamCell
from control_plane.compiler.routes import AnalysedRuleset, compile_routes
from control_plane.names import ECDS, LDS, RDS
from control_plane.routing.model import Cells, in_service
from control_plane.routing.rules.ruleset import Ruleset


def compile_edge(
    cells: Sequence[UpstreamCell], ruleset: Ruleset, policy: TrafficPolicy, revision: int
) -> tuple[EnvoyResource, ...]:
    """All resources of the edge. The same input gives the same bytes.

    Retired cells get none. ``revision`` shows up in the debug filter only.
    """
    return EdgeCompiler(policy).compile(cells, ruleset, revision)


@dataclass(frozen=True, slots=True)
class Update:
    """What another compilation changes: resources that are new or other, and (type, name) gone."""

    put: tuple[EnvoyResource, ...]
    dropped: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Kept:
    """A cell with what was made of it, and all that routes depend on of it.

    Its endpoints' addresses, for one, are no part of that.
    """

    cell: UpstreamCell
    resources: tuple[EnvoyResource, ...]
    facet: tuple[object, ...]
    spread: bool


class EdgeCompiler:
    """Compiles again and again, and does over only what has changed.

    Keeps the newest of each input and its output: what it has made so far, put together, is what
    `compile_edge` gives. Quickest where cells that have not changed are the same objects.
    """

    def __init__(self, policy: TrafficPolicy) -> None:
        self._policy = policy
        self._rules: AnalysedRuleset | None = None
        self._cells: dict[str, _Kept] = {}
        self._classifier = compile_classifier(policy.classifiers, policy)
        self._shared: dict[str, EnvoyResource] = {}
        """What belongs to no cell, by type; the classifier's cluster aside."""

    def compile(
        self, cells: Sequence[UpstreamCell], ruleset: Ruleset, revision: int
    ) -> tuple[EnvoyResource, ...]:
        """All resources of the edge at a revision."""
        self.update(cells, ruleset, revision)
        kept = sorted(self._cells.values(), key=lambda one: one.cell.id)
        of_cells = (resource for one in kept for resource in one.resources)
        return (*of_cells, self._classifier, *self._shared.values())

    def update(self, cells: Sequence[UpstreamCell], ruleset: Ruleset, revision: int) -> Update:
        """What is other than when this was called last; all of it, the first time."""
        cells = in_service(cells)
        before, known = self._cells, self._cells.get
        fresh = {
            cell.name: self._compiled(cell)
            for cell in cells
            if (kept := known(cell.name)) is None or (kept.cell is not cell and kept.cell != cell)
        }
        names = {cell.name for cell in cells}
        dropped = before.keys() - names
        after = before | fresh
        for name in dropped:
            del after[name]
        shared, rules = self._compile_shared(cells, ruleset, revision, after, {*fresh, *dropped})
        update = _difference(before, fresh, dropped, self._shared, shared)
        if not self._shared:
            update = Update((*update.put, self._classifier), update.dropped)
        # All at once: what fails above leaves nothing half done.
        self._cells, self._shared, self._rules = after, shared, rules
        return update

    def _compile_shared(
        self,
        cells: Sequence[UpstreamCell],
        ruleset: Ruleset,
        revision: int,
        after: Mapping[str, _Kept],
        touched: AbstractSet[str],
    ) -> tuple[dict[str, EnvoyResource], AnalysedRuleset]:
        """Listener, routes and debug filter, and the rules that routes are made from."""
        shared, rules = dict(self._shared), self._rules
        if not shared:
            shared[LDS] = compile_listener(self._policy)
        if rules is None or ruleset is not rules.ruleset:
            rules = AnalysedRuleset.of(ruleset)
        if rules is not self._rules or any(
            _facet(self._cells.get(name)) != _facet(after.get(name)) for name in touched
        ):
            spread = frozenset(name for name, one in after.items() if one.spread)
            shared[RDS] = compile_routes(rules, Cells(cells), self._policy, spread)
        if self._policy.debug_networks:
            shared[ECDS] = compile_debug_filter(revision)
        return shared, rules

    def _compiled(self, cell: UpstreamCell) -> _Kept:
        resources = (compile_cell(cell, self._policy),)
        facet = (
            cell.id,
            cell.name,
            cell.address,
            cell.session_prefix,
            cell.serving,
            cell.accepts_new,
            cell.weight,
        )
        return _Kept(cell, resources, facet, _is_spread(cell))


def _difference(
    before: Mapping[str, _Kept],
    fresh: Mapping[str, _Kept],
    dropped: Iterable[str],
    shared_before: Mapping[str, EnvoyResource],
    shared: Mapping[str, EnvoyResource],
) -> Update:
    old = [one for name in (*fresh, *dropped) if name in before for one in before[name].resources]
    new = [one for kept in fresh.values() for one in kept.resources]
    new += [one for url, one in shared.items() if shared_before.get(url) is not one]
    unchanged = set(old)
    put = tuple(one for one in new if one not in unchanged)
    there = {(one.type_url, one.name) for one in new}
    gone = (key for one in old if (key := (one.type_url, one.name)) not in there)
    return Update(put, tuple(gone))


def _facet(kept: _Kept | None) -> tuple[object, ...] | None:
    return None if kept is None else (*kept.facet, kept.spread)


def _is_spread(cell: UpstreamCell) -> bool:
    """Whether there may be another endpoint to try; a DNS name may have several addresses."""
    return len(cell.endpoints) > 1 or not all(endpoint.is_ip for endpoint in cell.endpoints)
