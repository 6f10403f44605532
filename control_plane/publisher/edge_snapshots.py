"""Makes the fleet's configuration of a state of the topology: compiled resources in a snapshot.

Each snapshot is made from the one before it, so that what has not changed is neither compiled nor
serialised again. The epochs say which of the answers that the edge cache keeps are void. They are a
resource only where the listener has the filter that shows them: elsewhere no Envoy would ask for
it, and none would ever be up to date.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from control_plane.compiler.edge import EdgeCompiler
from control_plane.compiler.edge_map.variant import compile_map_epochs
from control_plane.compiler.edge_secret import compile_edge_secret
from control_plane.compiler.epochs import compile_epochs
from control_plane.compiler.filters import has_epochs
from control_plane.compiler.model import EnvoyResource, TrafficPolicy
from control_plane.names import ECDS, EPOCHS_FILTER, MAP_EPOCHS_FILTER
from control_plane.publisher.reachable_cells import ReachableCells
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.ruleset import Ruleset
from control_plane.topology.values.change import TopologySnapshot
from control_plane.topology.values.endpoint_policy import EndpointPolicy
from control_plane.xds.resource import Resource
from control_plane.xds.snapshot import EMPTY, Snapshot

MAX_WHY_CHARS = 500
"""Of the error's text in `NotCompiled`."""


class NotCompiled(Exception):
    """What is stored can't be published: a ruleset does not compile, or all is of an older time.

    The message says why.
    """


@lru_cache(maxsize=4)
def _parsed(document: str) -> Ruleset:
    return parse(document)


class EdgeSnapshots:
    """Makes snapshots, revision after revision, for one traffic policy."""

    def __init__(
        self, policy: TrafficPolicy, endpoint_policy: EndpointPolicy | None = None
    ) -> None:
        self._compiler = EdgeCompiler(policy)
        self._policy = policy
        self._reachable = ReachableCells(endpoint_policy or EndpointPolicy())
        self._last = EMPTY

    def at(self, state: TopologySnapshot, ruleset: Ruleset) -> Snapshot:
        """Return the configuration for a state's cells, except for retired ones, and a ruleset."""
        cells = self._reachable.of(state.cells)
        update = self._compiler.update(cells, ruleset, state.edge_revision)
        put = [_resource(one) for one in update.put]
        if has_epochs(self._policy):
            put.append(_epochs(state.answers_revision, state.epochs))
        if self._policy.sends_secret:
            put.append(_resource(compile_edge_secret(state.edge_secret)))
        self._last = self._last.altered(state.revision, put, update.dropped)
        return self._last

    def of(self, state: TopologySnapshot) -> Snapshot:
        """Return the configuration for a state; it is empty while no ruleset is active.

        What is written is checked, so that it can be compiled. What is stored may be older than a
        check, or written by another program. Whatever such a ruleset makes fail, it must not end
        ours.

        Raises:
            NotCompiled: the ruleset can't be read or compiled. The next snapshot is made as if
                this call had not been.
        """
        if state.ruleset is None:
            return Snapshot(state.revision, ())
        try:
            return self.at(state, _parsed(state.ruleset.document))
        except Exception as error:
            # What was made of the failed state must not be the base of the next one.
            self._compiler = EdgeCompiler(self._policy)
            self._last = EMPTY
            name = f"{state.ruleset.name}@{state.ruleset.version}"
            why = f"{type(error).__name__}: {str(error)[:MAX_WHY_CHARS]}"
            raise NotCompiled(f"the active ruleset {name} can't be compiled: {why}") from error

    def module_variant(self, snapshot: Snapshot, state: TopologySnapshot) -> Snapshot:
        """Return the variant for Envoys that have the module.

        Args:
            snapshot: What `of` has returned for this state; it was the last call.
            state: A state with an active ruleset, or without one.
        """
        if state.ruleset is None:
            return snapshot
        own = [_resource(one) for one in self._compiler.module_variant(state.owners_key)]
        put = [*own, _map_epochs(state.answers_revision, state.epochs)]
        return snapshot.altered(state.revision, put, ())

    @property
    def denied(self) -> int:
        """How many declared endpoints are left out, because no cell may have them."""
        return self._reachable.denied

    def with_epochs(self, snapshot: Snapshot, state: TopologySnapshot) -> Snapshot:
        """Return a snapshot brought to a newer state in which only claims have changed."""
        filters = snapshot.of_type(ECDS)
        put = [
            make(state.answers_revision, state.epochs)
            for name, make in ((EPOCHS_FILTER, _epochs), (MAP_EPOCHS_FILTER, _map_epochs))
            if name in filters
        ]
        return snapshot.altered(state.revision, put, ())


def _epochs(floor: int, epochs: Mapping[int, int]) -> Resource:
    return _resource(compile_epochs(floor, epochs))


def _map_epochs(floor: int, epochs: Mapping[int, int]) -> Resource:
    return _resource(compile_map_epochs(floor, epochs))


def _resource(compiled: EnvoyResource) -> Resource:
    return Resource.of(compiled.type_url, compiled.name, compiled.body)
