"""What Envoys with the module get instead of the plain configuration, kept from one to the next.

The listener has two filters more, the route table one element more, and the epochs come once more
as a resource of the module's own. Clusters and all else are the same. Listener and routes are made
of the plain ones, only when those or the key have changed; so a change that leaves the plain route
table as it is costs nothing here.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from envoy.config.core.v3 import extension_pb2

from control_plane.compiler.edge_map.listener import epochs_message, with_module_filters
from control_plane.compiler.edge_map.routes import with_map
from control_plane.compiler.epochs import epochs_text
from control_plane.compiler.model import EnvoyResource, TrafficPolicy
from control_plane.compiler.programs import RulesetProgram
from control_plane.compiler.route_actions import RouteActions
from control_plane.names import ECDS, LDS, MAP_EPOCHS_FILTER, RDS
from control_plane.routing.model import Cell, Cells
from control_plane.routing.rules.ruleset import Ruleset


@dataclass(frozen=True, slots=True)
class EdgeState:
    """What the variant is made of, as `EdgeCompiler` has it after an update."""

    cells: Sequence[Cell]
    """Those in service."""
    ruleset: Ruleset
    spread: Container[str]
    """The names of the cells that have several endpoints."""
    shared: Mapping[str, EnvoyResource]
    """The plain resources that belong to no cell, by type."""


class ModuleVariant:
    """Makes listener and routes of the variant, one state after another."""

    def __init__(self, policy: TrafficPolicy) -> None:
        self._policy = policy
        self._program: RulesetProgram | None = None
        self._ruleset: Ruleset | None = None
        self._routes: tuple[EnvoyResource, EnvoyResource] | None = None
        """The plain table and the one that was made of it last."""
        self._listener: tuple[EnvoyResource, str, EnvoyResource] | None = None
        """The plain listener, the key and the listener that was made of them last."""

    def resources(self, state: EdgeState, key: str) -> tuple[EnvoyResource, ...]:
        """Return the listener and the route table that take the place of the plain ones.

        Args:
            state: The plain configuration, and what it was made of.
            key: The key of the owners' fingerprints, as 32 hexadecimal digits.
        """
        return self._listener_of(state, key), self._routes_of(state)

    def _listener_of(self, state: EdgeState, key: str) -> EnvoyResource:
        plain, last = state.shared[LDS], self._listener
        if last is None or last[0] is not plain or last[1] != key:
            made = with_module_filters(plain, key, self._policy.map_unknown_asked)
            last = self._listener = (plain, key, made)
        return last[2]

    def _routes_of(self, state: EdgeState) -> EnvoyResource:
        plain, last = state.shared[RDS], self._routes
        if last is None or last[0] is not plain:
            if self._program is None or self._ruleset is not state.ruleset:
                self._program, self._ruleset = RulesetProgram.of(state.ruleset), state.ruleset
            program = self._program.program(Cells(state.cells))
            actions = RouteActions(self._policy, state.spread)
            last = self._routes = (plain, with_map(plain, program, actions))
        return last[1]


def compile_map_epochs(floor: int, epochs: Mapping[int, int]) -> EnvoyResource:
    """Return the module's filter that is told which entries of the map are void.

    The arguments are those of `compile_epochs`.
    """
    wrapped = extension_pb2.TypedExtensionConfig(name=MAP_EPOCHS_FILTER)
    wrapped.typed_config.CopyFrom(epochs_message(epochs_text(floor, epochs)))
    return EnvoyResource(ECDS, MAP_EPOCHS_FILTER, wrapped.SerializeToString(deterministic=True))
