"""The classifier's view of the topology: never older than the last commit that it can see."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

from control_plane.classifier.cache.tiered import CachedLookup
from control_plane.classifier.past_rulesets import PastRulesets
from control_plane.routing.evaluate import Evaluation
from control_plane.routing.model import Cells, ClaimKey, Decision, Request
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.ruleset import Ruleset
from control_plane.topology import Topology
from control_plane.topology.lookup.interface import ClaimLookup, Seen
from control_plane.topology.values.errors import Unavailable

MAX_STARTS = 8
"""How often a question is begun anew because a cell or the ruleset changed meanwhile."""
RELOAD_S = 1.0
"""How long a question waits for cells and ruleset to be read anew; the edge has long given up."""


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
        # Opened by who needs it: a connection that listens and is never read holds up the server.
        self._lookup: ClaimLookup | None = None
        self._reloading: asyncio.Task[None] | None = None
        self._past = PastRulesets(topology)
        self._finding = asyncio.Lock()
        self._edge = Edge(-1, Cells(()), None, None)
        self.reload()

    def close(self) -> None:
        """Give the database connection back."""
        if self._lookup is not None:
            self._lookup.close()

    async def decide_with(
        self, lookup: CachedLookup, request: Request, known: int | None, digest: str | None = None
    ) -> Verdict:
        """`decide` without blocking; with ``known``, as of any time since that revision.

        Raises what ``lookup`` raises, too, and `Unavailable` where cells and ruleset can't be read
        within `RELOAD_S`.
        """
        ruleset = None if digest is None else self._known(digest)
        if ruleset is None and digest is not None:
            ruleset = await self._found_off_loop(digest)
        question = _Question(self._edge, request, ruleset, trace=False)
        said = question.resume(None)
        while not isinstance(said, Verdict):
            # A cache that has not heard of these cells and ruleset can't answer for them.
            at_least = None if known is None else max(known, self._edge.revision)
            seen = await lookup.look(said, at_least)
            if question.holds(seen):
                said = question.resume(seen)
                continue
            if seen.edge_revision != self._edge.revision:
                await self._reload_off_loop()
            question.start(self._edge)
            said = question.resume(None)
        return said

    async def _reload_off_loop(self) -> None:
        """`reload` in a thread, one at a time; who needs it meanwhile waits for the same.

        That may be too early a read for who joins: then it is needed once more.
        """
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.create_task(asyncio.to_thread(self.reload))
            self._reloading.add_done_callback(_retrieve)
        await asyncio.wait({self._reloading}, timeout=RELOAD_S)
        if not self._reloading.done():
            raise Unavailable(f"cells and ruleset can't be read within {RELOAD_S} s")
        self._reloading.result()

    def _known(self, digest: str) -> Ruleset | None:
        active = self._edge.ruleset
        if active is not None and active.digest == digest:
            return active
        return self._past.get(digest)

    def _found(self, digest: str) -> Ruleset:
        """A ruleset that is not known yet, be it newer or older than the active one. Blocks."""
        if not self._past.is_absent(digest):
            self.reload()
        return self._known(digest) or self._past.find(digest)

    async def _found_off_loop(self, digest: str) -> Ruleset:
        """`_found` in a thread, one at a time; all who need the same wait for that."""
        try:
            async with asyncio.timeout(RELOAD_S), self._finding:
                known = self._known(digest)
                return await asyncio.to_thread(self._found, digest) if known is None else known
        except TimeoutError as error:
            raise Unavailable(f"a ruleset can't be read within {RELOAD_S} s") from error

    @property
    def revision(self) -> int:
        """The revision of the cells and ruleset in use."""
        return self._edge.revision

    def decide(
        self, request: Request, digest: str | None = None, *, trace: bool = False
    ) -> Verdict:
        """Decide at the newest committed revision.

        Args:
            request: What the edge asks about.
            digest: The ruleset to decide by; without it, the active one.
            trace: Whether the decision is to have its trace.

        Raises:
            NoRuleset: none is active.
            UnknownRuleset: there is none with this digest.
            Unsettled: cells or ruleset change all the time.
        """
        if self._lookup is None:
            self._lookup = self._topology.claim_lookup()
        ruleset = None if digest is None else self._known(digest) or self._found(digest)
        question = _Question(self._edge, request, ruleset, trace=trace)
        look = self._lookup.look
        said = question.resume(None)
        while not isinstance(said, Verdict):
            seen = look(said)
            if question.holds(seen):
                said = question.resume(seen)
                continue
            self.reload()
            question.start(self._edge)
            said = question.resume(None)
        return said

    @property
    def edge(self) -> Edge:
        """Cells and ruleset in use."""
        return self._edge

    def reload(self) -> None:
        """Read cells and ruleset anew."""
        snapshot = self._topology.snapshot()
        cells = Cells(snapshot.cells)
        document = snapshot.ruleset.document if snapshot.ruleset else None
        ruleset = self._edge.ruleset
        if document != self._edge.document:
            if ruleset is not None:
                self._past.keep(ruleset)
            ruleset = None if document is None else parse(document)
        self._edge = Edge(snapshot.edge_revision, cells, document, ruleset)


def _retrieve(task: asyncio.Task[None]) -> None:
    """Whoever waited has the error; if nobody did, the next reload meets it again."""
    if not task.cancelled():
        task.exception()


class _Question:
    """A request to be decided on one revision of cells and ruleset, sans I/O."""

    __slots__ = (
        *("_edge", "_evaluation", "_negative", "_request", "_revision", "_ruleset"),
        *("_said", "_shards", "_starts", "_trace"),
    )

    def __init__(
        self, edge: Edge, request: Request, ruleset: Ruleset | None, *, trace: bool
    ) -> None:
        """Without ``ruleset``, the active one decides."""
        self._request = request
        self._ruleset = ruleset
        self._trace = trace
        self._starts = 0
        self.start(edge)

    def start(self, edge: Edge) -> None:
        """Begin, or begin anew with other cells or another ruleset; raises `Unsettled`."""
        self._starts += 1
        if self._starts > MAX_STARTS:
            raise Unsettled(f"cells or ruleset changed {MAX_STARTS} times during one question")
        self._edge = edge
        self._revision = -1
        self._shards: tuple[int, ...] = ()
        self._negative = False
        self._said: Decision | None = None
        self._evaluation = None
        ruleset = self._ruleset or edge.ruleset
        if ruleset is not None:
            self._evaluation = Evaluation(ruleset, self._request, edge.cells, trace=self._trace)

    def holds(self, seen: Seen) -> bool:
        """Whether what was seen is of the question's cells and ruleset; if not, `start` anew."""
        return seen.edge_revision == self._edge.revision

    def resume(self, seen: Seen | None) -> Verdict | tuple[ClaimKey, ...]:
        """Go on with what was seen of the claims asked for: the verdict, or claims to look up.

        No claims at all: only what is committed is to be seen. Raises `NoRuleset`.
        """
        if seen is not None:
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
