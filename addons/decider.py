"""Decides requests by `control_plane.routing`, with what the server's API tells.

Cells and ruleset are kept for ``cellway_refresh_s`` seconds, claims are not kept at all.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Any

from mitmproxy import ctx

from addons.cellway_api import CellwayApi
from addons.remote import Edge, RemoteCell
from control_plane.routing.admission.admit import Refused
from control_plane.routing.evaluate import steps
from control_plane.routing.explain import refused_decision
from control_plane.routing.model import Decision, Request, Status, ToCell
from control_plane.routing.outcomes import UNAVAILABLE


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision, and what became of it."""

    decision: Decision
    edge: Edge | None = None
    """What it was decided by; None if no rule has seen the request."""
    cell: RemoteCell | None = None
    """The cell that was chosen; None if the request is refused."""
    lookups: int = 0
    """How many claims were looked up."""
    undecided: bool = False
    """Whether what a decision needs is not known."""

    @property
    def refusal(self) -> Status | None:
        """The status that the request is refused with."""
        outcome = self.decision.outcome
        return outcome if isinstance(outcome, Status) else None

    def document(self) -> dict[str, Any]:
        """Return it in types that a flow file can hold."""
        decision = self.decision
        return {
            "cell": self.cell.name if self.cell is not None else None,
            "status": self.refusal.code if self.refusal is not None else None,
            "rule": decision.rule,
            "key": decision.key,
            "reason": decision.reason,
            "trace": [[step.rule, step.result, step.why] for step in decision.trace],
            "lookups": self.lookups,
        }


def undecided(why: str) -> Verdict:
    """Return the verdict for a request that can't be decided: it is never guessed."""
    return Verdict(Decision(UNAVAILABLE, None, None, f"not decided: {why}"), undecided=True)


def refused(refusal: Refused) -> Verdict:
    """Return the verdict for a request that the edge itself refuses."""
    return Verdict(refused_decision(refusal))


class Decider:
    """Decides with the cells and the ruleset of one API."""

    def __init__(self, api: CellwayApi) -> None:
        self._api = api
        self._edge: Edge | None = None

    @property
    def edge(self) -> Edge | None:
        """The cells and the ruleset that were read last."""
        return self._edge

    def forget(self) -> None:
        """Read cells and ruleset anew for the next request."""
        self._edge = None

    async def fresh_edge(self) -> Edge:
        """Return cells and ruleset, at most ``cellway_refresh_s`` seconds old.

        Raises:
            CannotDecide: the server does not tell them.
        """
        edge = self._edge
        if edge is None or time.monotonic() - edge.read_at >= ctx.options.cellway_refresh_s:
            self._edge = edge = await self._api.edge()
        return edge

    async def decide(self, request: Request) -> Verdict:
        """Decide an admitted request.

        Raises:
            CannotDecide: the server does not tell what is needed.
        """
        edge = await self.fresh_edge()
        decision, owners = await self._evaluate(edge, request)
        if any(owner not in edge.cells.by_id for owner in owners if owner is not None):
            # The cell is younger than what was read.
            self._edge = edge = await self._api.edge()
            decision, owners = await self._evaluate(edge, request)
        return Verdict(decision, edge, _chosen(decision, edge), len(owners))

    async def _evaluate(self, edge: Edge, request: Request) -> tuple[Decision, list[int | None]]:
        """Return the decision, and the owners of all claims that it looked at."""
        evaluation = steps(edge.ruleset, request, edge.cells)
        looked_up: list[int | None] = []
        try:
            keys = next(evaluation)
            while True:
                owners = [await self._api.owner(key) for key in keys]
                looked_up += owners
                keys = evaluation.send(owners)
        except StopIteration as end:
            decision: Decision = end.value
            return decision, looked_up


def _chosen(decision: Decision, edge: Edge) -> RemoteCell | None:
    outcome = decision.outcome
    if isinstance(outcome, Status):
        return None
    if isinstance(outcome, ToCell):
        return edge.cells_by_name[outcome.cell]
    names, weights = zip(*outcome.choices, strict=True)
    (name,) = random.choices(names, weights)  # noqa: S311 - spreads load, guards nothing
    return edge.cells_by_name[name]
