"""The classifier's view of the topology: never older than the last commit that it can see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from control_plane.classifier.cached_lookup import CachedLookup
from control_plane.routing.evaluate import Evaluation
from control_plane.routing.model import Cells, ClaimKey, Decision, Request
from control_plane.routing.parse import parse
from control_plane.routing.ruleset import Ruleset
from control_plane.topology.lookup import Seen
from control_plane.topology.model import CellState
from control_plane.topology.service import Topology

MAX_STARTS = 8
"""How often a question is begun anew because a cell or the ruleset changed meanwhile."""


class NoRuleset(Exception):
    """No ruleset is active, so nothing can be decided."""


class Unsettled(Exception):
    """Cells or the ruleset changed `MAX_STARTS` times during one question."""


class Verdict(NamedTuple):
    """A decision, and what it rests on.

    It holds as of ``revision``. ``shards`` are those of every claim that was looked up;
    ``negative`` says whether it took part that somebody owns nothing.
    """

    decision: Decision
    revision: int
    shards: tuple[int, ...]
    negative: bool


@dataclass(frozen=True, slots=True)
class Edge:
    """Cells and ruleset as of a revision."""

    revision: int
    cells: Cells
    document: str | None
    ruleset: Ruleset | None


class LiveView:
    """Cells and ruleset as of now, and claims straight from the database.

    Each look-up tells, as of one moment, owners and whether cells or ruleset changed. One per
    event loop.
    """

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._lookup = topology.claim_lookup()
        self._edge = Edge(-1, Cells(()), None, None)
        self.reload()

    def close(self) -> None:
        """Give the database connection back."""
        self._lookup.close()

    async def decide_with(
        self, lookup: CachedLookup, request: Request, known: int | None
    ) -> Verdict:
        """`decide` without blocking; with ``known``, as of any time since that revision.

        Raises what ``lookup`` raises, too.
        """
        question = _Question(self, request, trace=False)
        said = question.resume(None)
        while not isinstance(said, Verdict):
            said = question.resume(await lookup.look(said, known))
        return said

    @property
    def revision(self) -> int:
        """The revision of the cells and ruleset in use."""
        return self._edge.revision

    def decide(self, request: Request, *, trace: bool = False) -> Verdict:
        """Decide at the newest committed revision.

        Raises:
            NoRuleset: none is active.
            Unsettled: cells or ruleset change all the time.
        """
        question = _Question(self, request, trace=trace)
        look = self._lookup.look
        said = question.resume(None)
        while not isinstance(said, Verdict):
            said = question.resume(look(said))
        return said

    @property
    def edge(self) -> Edge:
        """Cells and ruleset in use."""
        return self._edge

    def reload(self) -> None:
        """Read cells and ruleset anew."""
        snapshot = self._topology.snapshot()
        cells = Cells(cell for cell in snapshot.cells if cell.state is not CellState.RETIRED)
        document = snapshot.ruleset.document if snapshot.ruleset else None
        ruleset = self._edge.ruleset
        if document != self._edge.document:
            ruleset = None if document is None else parse(document)
        self._edge = Edge(snapshot.edge_revision, cells, document, ruleset)


class _Question:
    """A request to be decided on one revision of cells and ruleset, sans I/O."""

    __slots__ = (
        *("_edge", "_evaluation", "_negative", "_request", "_revision", "_said"),
        *("_shards", "_starts", "_trace", "_view"),
    )

    def __init__(self, view: LiveView, request: Request, *, trace: bool) -> None:
        self._view = view
        self._request = request
        self._trace = trace
        self._starts = 0
        self._start()

    def _start(self) -> None:
        """Begin, or begin anew with other cells or another ruleset."""
        self._starts += 1
        if self._starts > MAX_STARTS:
            raise Unsettled(f"cells or ruleset changed {MAX_STARTS} times during one question")
        self._edge = edge = self._view.edge
        self._revision = -1
        self._shards: tuple[int, ...] = ()
        self._negative = False
        self._said: Decision | None = None
        self._evaluation = None
        if edge.ruleset is not None:
            self._evaluation = Evaluation(
                edge.ruleset, self._request, edge.cells, trace=self._trace
            )

    def resume(self, seen: Seen | None) -> Verdict | tuple[ClaimKey, ...]:
        """Go on with what was seen of the claims asked for: the verdict, or claims to look up.

        No claims at all: only what is committed is to be seen. Raises as `LiveView.decide` does.
        """
        if seen is not None:
            if seen.edge_revision != self._edge.revision:
                self._view.reload()
                self._start()
                return self.resume(None)
            if self._revision < 0:
                self._revision = seen.revision
            if self._said is not None:
                return Verdict(self._said, self._revision, (), negative=False)
        evaluation = self._evaluation
        if evaluation is None:
            if seen is None:
                return ()
            raise NoRuleset
        if seen is None:
            said = evaluation.resume()
        else:
            self._shards += tuple(seen.shards)
            # A first owner that is a cell decides; else it took part that there is none.
            self._negative = self._negative or seen.owners[0] not in self._edge.cells.by_id
            said = evaluation.resume(seen.owners)
        if not isinstance(said, Decision):
            return said
        if self._revision < 0:
            self._said = said
            return ()
        return Verdict(said, self._revision, self._shards, self._negative)
