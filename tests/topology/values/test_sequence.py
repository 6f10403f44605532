"""How far ranges of ids are used, and when a database is older than its mark file."""

from __future__ import annotations

import pytest

from control_plane.topology.values.sequence import HighWaterMark, SequenceUse


@pytest.mark.parametrize(
    ("allotted", "used", "share", "alarming"),
    [(0, 0, 0.0, False), (100, 89, 0.89, False), (100, 90, 0.9, True), (10, 10, 1.0, True)],
)
def test_nine_tenths_of_a_sequence_are_cause_for_alarm(
    allotted: int, used: int, share: float, alarming: bool
) -> None:
    use = SequenceUse("cell-1", allotted, used)
    assert (use.share, use.alarming) == (share, alarming)


@pytest.mark.parametrize(
    ("outside", "restored"), [(None, False), (99, False), (100, False), (101, True)]
)
def test_a_mark_file_that_is_ahead_tells_of_a_restore(outside: int | None, restored: bool) -> None:
    assert HighWaterMark(100, 0, outside).restored is restored
