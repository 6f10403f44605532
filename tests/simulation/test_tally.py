"""Groups are told apart within bounds, and no request is lost."""

from __future__ import annotations

from unittest.mock import patch

from control_plane.routing.model import Decision, Status, ToCell, Weighted
from control_plane.simulation import tally
from control_plane.simulation.logs.recorded import Recorded
from control_plane.simulation.tally import Tally

REQUEST = Recorded("GET", b"/", b"h", ())


def to(cell: int, rule: str = "r") -> Decision:
    return Decision(ToCell(f"cell-{cell}", cell), rule, None, "why")


def test_what_differs_comes_first_and_then_what_is_frequent() -> None:
    counted = Tally(examples=0)
    for before, after, count in ((1, 1, 9), (1, 2, 3), (2, 1, 5)):
        counted.group(1, REQUEST, to(before), to(after)).count += count
    counted.group(1, REQUEST, to(1), to(1, "other")).count += 2
    report = counted.as_dict()
    assert [one["count"] for one in report["groups"]] == [5, 3, 9, 2]
    assert (report["different"], report["by_other_rule"], report["requests"]) == (8, 2, 19)


def test_further_groups_are_counted_as_a_whole() -> None:
    counted = Tally(examples=1)
    with patch.object(tally, "MAX_GROUPS", 1):
        for cell in (1, 2, 3):
            counted.group(1, REQUEST, to(1), to(cell)).count += cell
    report = counted.as_dict()
    assert (report["requests"], report["different"], report["not_grouped"]) == (6, 5, 5)
    assert len(report["groups"]) == 1


def test_every_outcome_is_shown_with_its_rule() -> None:
    counted = Tally(examples=0)
    spread = Decision(Weighted((("c1", 1),)), "w", None, "")
    counted.group(1, REQUEST, spread, Decision(Status(404), None, None, "")).count += 1
    (group,) = counted.as_dict()["groups"]
    assert group["from"] == {"rule": "w", "weighted": {"c1": 1}}
    assert group["to"] == {"rule": None, "status": 404}
