"""The classifier's view of the topology: never older than the last commit that it can see."""

from __future__ import annotations

from dataclasses import dataclass

from control_plane.routing.evaluate import decide
from control_plane.routing.model import Cells, Decision, Request
from control_plane.routing.parse import parse
from control_plane.routing.ruleset import Ruleset
from control_plane.topology.model import CellState
from control_plane.topology.service import Topology


class NoRuleset(Exception):
    """No ruleset is active, so nothing can be decided."""


@dataclass(frozen=True, slots=True)
class _Edge:
    revision: int
    cells: Cells
    ruleset: Ruleset | None


class LiveView:
    """Cells and ruleset as of now, and claims straight from the database.

    Each decision first asks the database, cheaply, whether anything was committed. One per event
    loop.
    """

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._lookup = topology.claim_lookup()
        self._edge = self._load()

    def close(self) -> None:
        """Give the database connection back."""
        self._lookup.close()

    @property
    def revision(self) -> int:
        """The revision of the cells and ruleset in use."""
        return self._edge.revision

    def decide(self, request: Request, *, trace: bool = False) -> Decision:
        """Decide at the newest committed revision.

        Raises:
            NoRuleset: none is active.
        """
        if self._lookup.changed() and self._lookup.edge_revision() != self._edge.revision:
            self._edge = self._load()
        edge = self._edge
        if edge.ruleset is None:
            raise NoRuleset
        return decide(edge.ruleset, request, edge.cells, self._lookup.owners, trace=trace)

    def _load(self) -> _Edge:
        snapshot = self._topology.snapshot()
        cells = Cells(cell for cell in snapshot.cells if cell.state is not CellState.RETIRED)
        ruleset = parse(snapshot.ruleset.document) if snapshot.ruleset else None
        return _Edge(snapshot.edge_revision, cells, ruleset)
