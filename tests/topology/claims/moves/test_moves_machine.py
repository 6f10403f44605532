"""Moves, transfers, claims and leases in any order, compared with a model that knows the rules."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from control_plane.topology import Topology
from control_plane.topology.values.cell import CellSpec, CellState
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.endpoint import Endpoint
from control_plane.topology.values.errors import NotFound, Refused
from control_plane.topology.values.move import MovePlan, MoveState, MoveStep

LONG = bool(os.environ.get("CELLWAY_LONG"))
TENANTS = ("acme", "globex", "initech")
NAMES = {tenant: [f"{tenant}-{number}" for number in (1, 2)] for tenant in TENANTS}
CELLS = ("cell-1", "cell-2", "cell-3")
ENDED = {"completed", "rolled-back"}
ALLOWED = {
    "preflight": {"planned", "preflight"},
    "freeze": {"preflight"},
    "switch": {"frozen"},
    "complete": {"watching"},
    "rollback": {"planned", "preflight", "frozen", "switched", "watching"},
}
REPEATED = {
    "freeze": {"frozen"},
    "switch": {"switched", "watching"},
    "complete": {"completed"},
    "rollback": {"rolled-back"},
}


class Tenant:
    """What the model knows of one tenant and its newest move."""

    def __init__(self) -> None:
        self.cell = 1
        self.move = 0
        self.state = "rolled-back"
        self.target = 1
        self.source = 1
        self.in_force = False
        self.verified = False

    @property
    def owner(self) -> int:
        return -self.move if self.state == "frozen" else self.cell


class Machine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.topology = Topology.open("sqlite://")
        for number, name in enumerate(CELLS, 1):
            endpoint = Endpoint("10.0.0.1", number)
            spec = CellSpec(
                name=name, address=f"{name}.example", endpoints=(endpoint,), state=CellState.ACTIVE
            )
            self.topology.cells.create(spec, actor="test")
        specs = [
            ClaimSpec("route", name, "cell-1", subject=tenant)
            for tenant, names in NAMES.items()
            for name in names
        ]
        self.topology.claims.claim(specs, actor="test")
        self.tenants = {tenant: Tenant() for tenant in TENANTS}

    def teardown(self) -> None:
        self.topology.close()

    @rule(tenant=st.sampled_from(TENANTS), to=st.sampled_from((1, 2, 3)))
    def plan(self, tenant: str, to: int) -> None:
        model = self.tenants[tenant]
        subject = {"subject": {"type": 0, "id": 0, "text": tenant}}
        plan = MovePlan(CELLS[model.cell - 1], CELLS[to - 1], "because", subject)
        may = model.state in ENDED and to != model.cell
        move = self._done(lambda: self.topology.tenant_moves.plan(plan, actor="op"), may=may)
        if move is not None:
            model.move, model.state = move.number, "planned"
            model.source, model.target = model.cell, to
            model.in_force = model.verified = False

    @precondition(lambda self: any(one.move for one in self.tenants.values()))
    @rule(tenant=st.sampled_from(TENANTS), step=st.sampled_from(sorted(ALLOWED)))
    def step(self, tenant: str, step: str) -> None:
        model = self.tenants[tenant]
        if not model.move:
            return
        before = self.topology.revision()
        repeated = model.state in REPEATED.get(step, set())
        may = repeated or model.state in ALLOWED[step]
        if step == "switch" and not repeated:
            may = may and model.in_force and model.verified
        moves = self.topology.tenant_moves
        move = self._done(lambda: moves.step(model.move, MoveStep(step), actor="op"), may=may)
        if move is None or repeated:
            assert self.topology.revision() == before
            return
        assert self.topology.revision() == before + 1
        self._take(model, step)
        assert str(move.state) == model.state

    def _take(self, model: Tenant, step: str) -> None:
        if step == "switch":
            model.cell = model.target
        if step == "rollback" and model.state in {"switched", "watching"}:
            model.cell = model.source
        model.state = {
            "preflight": "preflight",
            "freeze": "frozen",
            "switch": "switched",
            "complete": "completed",
            "rollback": "rolled-back",
        }[step]

    @rule(tenant=st.sampled_from(TENANTS), late=st.booleans())
    def acknowledge(self, tenant: str, late: bool) -> None:
        model = self.tenants[tenant]
        if not model.move:
            return
        move = self.topology.tenant_moves.get(model.move)
        seen = move.facts.get(
            "switch_revision" if model.state == "switched" else "held_revision", 0
        )
        revision = seen - 1 if late else self.topology.revision()
        told = self.topology.tenant_moves.acknowledged(
            model.move, revision, {"connected": 1}, actor="op"
        )
        if late:
            assert told.value.state == move.state
            assert told.value.facts == move.facts
        elif model.state == "frozen":
            model.in_force = True
        elif model.state == "switched":
            model.state = "watching"

    @rule(tenant=st.sampled_from(TENANTS))
    def verify(self, tenant: str) -> None:
        model = self.tenants[tenant]
        if not model.move:
            return
        may = model.state in {"planned", "preflight", "frozen"}
        moves = self.topology.tenant_moves
        move = self._done(
            lambda: moves.verified(model.move, back=True, forth=True, detail="", actor="mover"),
            may=may,
        )
        if move is not None:
            # What was verified before the freeze was in force does not count.
            model.verified = model.in_force

    @rule(tenant=st.sampled_from(TENANTS))
    def release_and_claim(self, tenant: str) -> None:
        model = self.tenants[tenant]
        keys = [("route", NAMES[tenant][0])]
        held = model.state == "frozen"
        if held:
            try:
                self.topology.claims.release(keys, actor="op")
            except Refused:
                return
            raise AssertionError("a held claim was released")
        self.topology.claims.release(keys, actor="op")
        spec = ClaimSpec("route", NAMES[tenant][0], CELLS[model.cell - 1], subject=tenant)
        self.topology.claims.claim([spec], actor="op")

    @rule()
    def nothing_has_timed_out(self) -> None:
        assert self.topology.tenant_moves.expire() == []

    def _done(self, work: Callable[[], Any], *, may: bool) -> Any:
        """Do something; return the move, or None if it was refused, as it must be unless it may."""
        try:
            move = work().value
        except (Refused, NotFound):
            assert not may
            return None
        assert may
        return move

    @invariant()
    def look_ups_answer_as_the_model_does(self) -> None:
        if not hasattr(self, "tenants"):
            return
        for tenant, model in self.tenants.items():
            owners = self.topology.claims.owners_of([("route", one) for one in NAMES[tenant]])
            assert owners == [model.owner] * 2

    @invariant()
    def only_frozen_moves_hold(self) -> None:
        if not hasattr(self, "tenants"):
            return
        held = {hold.number for hold in self.topology.snapshot().holds}
        assert held == {one.move for one in self.tenants.values() if one.state == "frozen"}
        for model in self.tenants.values():
            if model.move:
                state = self.topology.tenant_moves.get(model.move).state
                assert state is MoveState(model.state)


TestMoves = Machine.TestCase
TestMoves.settings = settings(max_examples=LONG * 100 or 6, stateful_step_count=40, deadline=None)
