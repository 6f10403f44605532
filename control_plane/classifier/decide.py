"""Decides requests by the newest committed state: cells, active ruleset, and owners of claims.

A decision needs three things of one moment: cells, a ruleset, and the owners of the claims that
the ruleset asks for. Cells and ruleset change seldom and are large, so they are held in memory
(`RoutingState`). Owners change all the time and are many, so they are looked up for each request.
To read all three in one transaction for each request would be far too slow. To trust what is in
memory would send requests to the wrong cell right after a change.

So each look-up also reads ``edge_revision``, the revision of the last change to a cell or to the
active ruleset. If it is that of the state in memory, all three are of one moment. If not, cells and
ruleset are read again, and the request is decided from the beginning::

    in memory            a look-up of ("tenant", "acme") sees
    edge_revision 40     cell 2, edge_revision 40                 -> decided
    edge_revision 40     cell 3, edge_revision 44                 -> read again, start again:
    edge_revision 44     cell 3, edge_revision 44                 -> decided

Even a request that needs no claim makes a look-up, without keys, to learn ``edge_revision``.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import NamedTuple

from control_plane.classifier.cache.tiered import CachedLookup
from control_plane.classifier.past_rulesets import PastRulesets
from control_plane.routing.evaluate import Evaluation
from control_plane.routing.holds import by_owner
from control_plane.routing.model import Cells, ClaimKey, Decision, Request
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.problems import RulesetError
from control_plane.routing.rules.ruleset import Ruleset
from control_plane.topology import Topology
from control_plane.topology.lookup.interface import ClaimLookup
from control_plane.topology.lookup.seen import Seen
from control_plane.topology.values import Ruleset as StoredRuleset
from control_plane.topology.values import Unavailable

log = logging.getLogger(__name__)

MAX_STARTS = 8
"""How often a request is decided from the beginning because cells or the ruleset have changed."""
RELOAD_S = 1.0
"""How long a request waits for cells and ruleset to be read. The edge has long given up by then."""


class NoRuleset(Exception):
    """No ruleset is active, so nothing can be decided."""


class Unsettled(Exception):
    """Cells or the ruleset changed `MAX_STARTS` times while one request was decided."""


class Verdict(NamedTuple):
    """A decision, and what it rests on."""

    decision: Decision
    revision: int
    """The revision as of which the decision holds."""
    shards: tuple[int, ...]
    """The shards of all claims that were looked up."""
    negative: bool
    """Whether the decision rests on a name that nobody owns."""
    held: bool = False
    """Whether a move holds the claim, so that the decision is for this one request."""


@dataclass(frozen=True, slots=True)
class RoutingState:
    """Cells and the active ruleset as of a revision."""

    edge_revision: int
    cells: Cells
    document: str | None
    """The text of the active ruleset."""
    ruleset: Ruleset | None


class Decider:
    """Decides requests. Each event loop has its own."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        # Opened when it is first needed: a connection that listens for notifications and never
        # reads them holds up the database server.
        self._lookup: ClaimLookup | None = None
        self._reloading: asyncio.Task[None] | None = None
        self._past = PastRulesets(topology)
        self._searching = asyncio.Lock()
        self._state = RoutingState(-1, Cells(()), None, None)
        self.reload()

    def close(self) -> None:
        """Give the database connection back."""
        if self._lookup is not None:
            self._lookup.close()

    def decide(
        self, request: Request, digest: str | None = None, *, trace: bool = False
    ) -> Verdict:
        """Decide as of the newest committed revision. Blocks while the database is read.

        Args:
            request: The request that the edge asks about.
            digest: The digest of the ruleset to decide by; None for the active one.
            trace: Whether the decision is to have its trace.

        Raises:
            NoRuleset: No ruleset is active.
            UnknownRuleset: No ruleset has this digest.
            Unsettled: Cells or the ruleset change all the time.
        """
        if self._lookup is None:
            self._lookup = self._topology.claim_lookup()
        ruleset = None if digest is None else self._in_memory(digest) or self._read(digest)
        question = _Question(self._state, request, ruleset, trace=trace)
        owners_of = self._lookup.owners_of
        answer = question.resume(None)
        while not isinstance(answer, Verdict):
            seen = owners_of(answer)
            if question.holds(seen):
                answer = question.resume(seen)
                continue
            self.reload()
            question.start(self._state)
            answer = question.resume(None)
        return answer

    async def decide_async(
        self,
        lookup: CachedLookup,
        request: Request,
        at_least: int | None,
        digest: str | None = None,
    ) -> Verdict:
        """Decide without blocking, and with owners from caches where that is allowed.

        Args:
            lookup: Looks the owners up.
            request: The request that the edge asks about.
            at_least: The decision may be as of this revision or any later one; None: as of now.
            digest: The digest of the ruleset to decide by; None for the active one.

        Raises:
            Unavailable: Cells and ruleset can't be read within `RELOAD_S`, or ``lookup`` raises it.
            NoRuleset, UnknownRuleset, Unsettled: As `decide` raises them.
        """
        ruleset = None if digest is None else self._in_memory(digest)
        if ruleset is None and digest is not None:
            ruleset = await self._read_off_loop(digest)
        question = _Question(self._state, request, ruleset, trace=False)
        answer = question.resume(None)
        while not isinstance(answer, Verdict):
            # A cache that has not heard of these cells and this ruleset can't answer for them, and
            # none may be older than the look-up whose revision the verdict tells.
            oldest = at_least
            if oldest is not None:
                oldest = max(oldest, self._state.edge_revision, question.revision)
            seen = await lookup.owners_of(answer, oldest)
            if question.holds(seen):
                answer = question.resume(seen)
                continue
            if seen.edge_revision != self._state.edge_revision:
                await self._reload_off_loop()
                if seen.edge_revision != self._state.edge_revision:
                    # The database says something else than a cache, or has changed once more.
                    at_least = None
            question.start(self._state)
            answer = question.resume(None)
        return answer

    def reload(self) -> None:
        """Read cells and ruleset again. Blocks."""
        snapshot = self._topology.snapshot()
        cells = Cells(snapshot.cells, by_owner(snapshot.holds))
        document = snapshot.ruleset.document if snapshot.ruleset else None
        ruleset = self._state.ruleset
        if document != self._state.document:
            if ruleset is not None:
                self._past.add(ruleset)
            ruleset = None if snapshot.ruleset is None else self._parsed(snapshot.ruleset)
        self._state = RoutingState(snapshot.edge_revision, cells, document, ruleset)

    def _parsed(self, stored: StoredRuleset) -> Ruleset | None:
        """Return a stored ruleset; if it can't be read, the one that is in memory goes on deciding.

        What is written is checked, but what is stored may be older than a check.
        """
        try:
            return parse(stored.document)
        except RulesetError as error:
            log.error("ruleset %s@%d can't be read: %s", stored.name, stored.version, error)  # noqa: TRY400 - no bug
            return self._state.ruleset

    async def _reload_off_loop(self) -> None:
        """Run `reload` in a thread; a caller that comes while it runs waits for the same one.

        For that caller, what was read may be too old. It finds out by its next look-up, and calls
        this again.
        """
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.create_task(asyncio.to_thread(self.reload))
            self._reloading.add_done_callback(_retrieve_error)
        await asyncio.wait({self._reloading}, timeout=RELOAD_S)
        if not self._reloading.done():
            raise Unavailable(f"cells and ruleset can't be read within {RELOAD_S} s")
        self._reloading.result()

    def _in_memory(self, digest: str) -> Ruleset | None:
        active = self._state.ruleset
        if active is not None and active.digest == digest:
            return active
        return self._past.get(digest)

    def _read(self, digest: str) -> Ruleset:
        """Read a ruleset that is not in memory, newer or older than the active one. Blocks."""
        if not self._past.is_absent(digest):
            self.reload()
        return self._in_memory(digest) or self._past.read(digest)

    async def _read_off_loop(self, digest: str) -> Ruleset:
        """Run `_read` in a thread, one at a time; all that need the same ruleset wait for that."""
        try:
            async with asyncio.timeout(RELOAD_S), self._searching:
                ruleset = self._in_memory(digest)
                return await asyncio.to_thread(self._read, digest) if ruleset is None else ruleset
        except TimeoutError as error:
            raise Unavailable(f"a ruleset can't be read within {RELOAD_S} s") from error


def _retrieve_error(task: asyncio.Task[None]) -> None:
    """Take the error of a reload that nobody waited for, so that asyncio does not log it.

    The next reload meets it again.
    """
    if not task.cancelled():
        task.exception()


class _Question:
    """A request that is decided by one state of cells and ruleset, sans I/O."""

    __slots__ = (
        *("_decision", "_evaluation", "_held", "_negative", "_request", "_ruleset", "_shards"),
        *("_starts", "_state", "_trace", "revision"),
    )

    def __init__(
        self, state: RoutingState, request: Request, ruleset: Ruleset | None, *, trace: bool
    ) -> None:
        """Without ``ruleset``, the active one decides."""
        self._request = request
        self._ruleset = ruleset
        self._trace = trace
        self._starts = 0
        self.start(state)

    def start(self, state: RoutingState) -> None:
        """Begin, or begin again with another state; raise `Unsettled` after `MAX_STARTS`."""
        self._starts += 1
        if self._starts > MAX_STARTS:
            raise Unsettled(f"cells or ruleset changed {MAX_STARTS} times during one question")
        self._state = state
        self.revision = -1
        """That of the first look-up; -1 before it."""
        self._shards: tuple[int, ...] = ()
        self._negative = False
        self._held = False
        self._decision: Decision | None = None
        """A decision that waits for the look-up that tells its revision."""
        self._evaluation = None
        ruleset = self._ruleset or state.ruleset
        if ruleset is not None:
            self._evaluation = Evaluation(ruleset, self._request, state.cells, trace=self._trace)

    def holds(self, seen: Seen) -> bool:
        """Tell whether a look-up is of the question's state; if not, the caller has to `start`."""
        return seen.edge_revision == self._state.edge_revision

    def resume(self, seen: Seen | None) -> Verdict | tuple[ClaimKey, ...]:
        """Go on with what a look-up has seen; None at the beginning.

        Returns:
            The verdict, or the claims to look up next. No claims: the look-up is to be made without
            keys, only to see what is committed.

        Raises:
            NoRuleset: No ruleset is active.
        """
        if seen is not None:
            if self.revision < 0:
                self.revision = seen.revision
            if self._decision is not None:
                return Verdict(self._decision, self.revision, (), negative=False)
        evaluation = self._evaluation
        if evaluation is None:
            if seen is None:
                return ()
            raise NoRuleset
        if seen is None:
            answer = evaluation.resume()
        else:
            self._shards += tuple(seen.shards)
            # If the first owner is a cell, it decides. Otherwise its absence is a reason, too.
            if seen.owners[0] not in self._state.cells.by_id:
                self._negative = True
                self._held = any(owner is not None and owner < 0 for owner in seen.owners)
            answer = evaluation.resume(seen.owners)
        if not isinstance(answer, Decision):
            return answer
        if self.revision < 0:
            self._decision = answer
            return ()
        return Verdict(answer, self.revision, self._shards, self._negative, self._held)
