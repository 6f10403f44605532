"""Long requests are limited in number, per caller and in all."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from control_plane.api.auth import Caller
from control_plane.api.problem import ProblemError
from control_plane.api.slots import Slots
from control_plane.topology import Scope

TOTAL, OWN = 5, 2
CALLERS = st.sampled_from([Caller(one, one, Scope.VIEWER) for one in "abcd"])


class SlotsMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.refused: list[str] = []
        self.slots = Slots("streams", total=TOTAL, per_caller=OWN, refused=self.refused.append)
        self.held: list[tuple[str, AbstractContextManager[None]]] = []

    @rule(caller=CALLERS)
    def take(self, caller: Caller) -> None:
        own = sum(one == caller.id for one, _ in self.held)
        slot = self.slots.one(caller)
        if own < OWN and len(self.held) < TOTAL:
            slot.__enter__()
            self.held.append((caller.id, slot))
            return
        with pytest.raises(ProblemError, match="open, which is the limit") as refused:
            slot.__enter__()
        assert refused.value.status == (429 if own >= OWN else 503)
        assert self.refused.pop() == "too-many-streams"

    @rule(number=st.integers(0, TOTAL), fails=st.booleans())
    def give_back(self, number: int, fails: bool) -> None:
        if number >= len(self.held):
            return
        _, slot = self.held.pop(number)
        error = RuntimeError("broken off") if fails else None
        assert not slot.__exit__(type(error) if error else None, error, None)

    @invariant()
    def as_many_are_taken_as_are_held(self) -> None:
        assert self.slots.taken == len(self.held)


TestSlots = SlotsMachine.TestCase
