"""Steps that the tests of moves take again and again."""

from __future__ import annotations

from typing import Any

from control_plane.topology import Topology
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.move import Move, MovePlan, MoveStep

ME = "operator"
WHY = "ticket 7"
ACME: dict[str, Any] = {"subject": {"type": 0, "id": 0, "text": "acme"}}


def claim(topology: Topology, subject: str | None, *names: str, cell: str = "cell-1") -> None:
    """Have a cell own routes of a subject."""
    specs = [ClaimSpec("route", name, cell, subject=subject) for name in names]
    topology.claims.claim(specs, actor=ME)


def plan(topology: Topology, selection: dict[str, Any] | None = None, **more: Any) -> Move:
    """Plan a move from cell-1 to cell-2, without a selection of acme's claims."""
    planned = MovePlan("cell-1", "cell-2", WHY, selection or ACME, **more)
    return topology.tenant_moves.plan(planned, actor=ME).value


def step(topology: Topology, move: Move, name: str, **more: Any) -> Move:
    """Take a step; return the move after it."""
    return topology.tenant_moves.step(move.number, MoveStep(name), actor=ME, **more).value


def in_force(topology: Topology, move: Move) -> Move:
    """Have all Envoys run what the move's last step has changed."""
    revision = topology.revision()
    seen = {"connected": 1, "acknowledged": 1, "nodes": []}
    return topology.tenant_moves.acknowledged(move.number, revision, seen, actor=ME).value


def verified(topology: Topology, move: Move, *, back: bool = True, forth: bool = True) -> Move:
    """Have a mover say that the data is there."""
    moves = topology.tenant_moves
    return moves.verified(move.number, back=back, forth=forth, detail="rows", actor="mover").value


def frozen(topology: Topology, **more: Any) -> Move:
    """Return a move whose freeze is in force."""
    move = plan(topology, **more)
    step(topology, move, "preflight")
    return in_force(topology, step(topology, move, "freeze"))


def switched(topology: Topology, **more: Any) -> Move:
    """Return a move that has switched, which no Envoy is known to run yet."""
    move = verified(topology, frozen(topology, **more))
    return step(topology, move, "switch")


def owners(topology: Topology, *names: str) -> list[int | None]:
    """Return what look-ups answer for routes."""
    return topology.claims.owners_of([("route", name) for name in names])
