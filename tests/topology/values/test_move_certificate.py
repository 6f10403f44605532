"""What a certificate says, and what it says that nobody knows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from control_plane.topology.values.move import Move, MovePlan, MoveState
from control_plane.topology.values.move_certificate import as_markdown, certificate

T = datetime(2026, 11, 30, 3, tzinfo=UTC)


def at(seconds: int) -> str:
    return (T + timedelta(seconds=seconds)).isoformat()


def report(seconds: int, reporter: str = "cell-1", **counts: int) -> dict[str, Any]:
    unknown = dict.fromkeys(("in_flight", "refused", "misdirected", "old_cell_requests"))
    return {"at": at(seconds), "reporter": reporter, **unknown, **counts}


def moved(*reports: dict[str, Any], connected: int = 1, **facts: Any) -> Move:
    node = {"id": "edge-1", "acked_revision": 8, "last_message_at": at(9)}
    events = (
        {
            "at": at(9),
            "step": "watching",
            "actor": "op",
            "revision": 9,
            "connected": connected,
            "nodes": [node],
        },
    )
    known = {"switch_revision": 8, "settled_at": at(10), "in_force_at": at(5), "held_revision": 4}
    plan = MovePlan("cell-1", "cell-2", "r | <b>", {"listed": 2})
    return Move(
        *(7, MoveState.WATCHING, 9, 1, 2, plan, 2, T, T, None),
        facts=known | facts,
        events=events,
        reports=reports,
    )  # fmt: skip


def test_without_reports_it_is_not_known_whether_requests_reached_the_old_cell() -> None:
    told = certificate(moved())
    assert told["old_cell"]["requests"] == "unknown"
    assert told["drained"] == "unknown"
    assert any("nobody has reported" in line for line in told["not_known"])
    assert "is not known" in as_markdown(told)


def test_a_report_from_before_the_switch_was_settled_says_nothing_of_after() -> None:
    told = certificate(moved(report(9, old_cell_requests=0)))
    assert told["old_cell"]["requests"] == "unknown"


@pytest.mark.parametrize(("counts", "said"), [((0, 0), "none"), ((0, 2), "2"), ((3, 3), "3")])
def test_the_newest_report_of_each_reporter_counts(counts: tuple[int, int], said: str) -> None:
    reports = [report(11 + n, old_cell_requests=count) for n, count in enumerate(counts)]
    told = certificate(moved(*reports, report(20, "edge-1", old_cell_requests=0)))
    assert told["old_cell"] == {
        "requests": said,
        "after": at(10),
        "until": at(20),
        "by": ["cell-1", "edge-1"],
    }


@pytest.mark.parametrize(
    ("counts", "said"), [((0,), "unknown"), ((0, 0), "shown"), ((0, 1), "no"), ((4, 0), "unknown")]
)
def test_drained_takes_two_reports_in_a_row_after_the_freeze(
    counts: tuple[int, ...], said: str
) -> None:
    reports = [report(6 + n, in_flight=count) for n, count in enumerate(counts)]
    before = report(4, in_flight=0)
    assert certificate(moved(before, *reports))["drained"] == said


def test_that_no_envoy_was_connected_is_said() -> None:
    lines = certificate(moved(connected=0))["not_known"]
    assert any("none was connected" in line for line in lines)
    lines = certificate(moved(settled_at=None))["not_known"]
    assert any("nobody has waited" in line for line in lines)


def test_a_reason_can_not_break_the_page() -> None:
    page = as_markdown(certificate(moved()))
    assert "r \\| \\<b\\>" in page
    assert "- edge-1: revision 8" in page
