"""What a decision allows."""

from __future__ import annotations

import pytest

from control_plane.routing.model import Decision, Outcome, Status, ToCell, Weighted


@pytest.mark.parametrize(
    ("outcome", "cell", "allowed"),
    [
        (ToCell("a", 1), "a", {"a"}),
        (Weighted((("a", 3), ("b", 1), ("c", 0))), None, {"a", "b"}),
        (Status(404), None, set()),
    ],
)
def test_only_cells_that_may_serve_the_request_are_allowed(
    outcome: Outcome, cell: str | None, allowed: set[str]
) -> None:
    decision = Decision(outcome, "r", "k", "why")
    assert decision.cell == cell
    assert {name for name in "abcd" if decision.allows(name)} == allowed
