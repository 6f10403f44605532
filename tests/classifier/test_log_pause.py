"""A line that could come at any rate comes once in a while, and says how many were left out."""

from __future__ import annotations

from control_plane.classifier.log_pause import LOG_S, LogPause


def test_one_line_in_a_while_counts_the_others() -> None:
    now = 0.0
    pause = LogPause(lambda: now)
    assert [pause.left_out() for _ in range(3)] == [0, None, None]
    now = LOG_S
    assert [pause.left_out() for _ in range(2)] == [2, None]
    now = 2 * LOG_S
    assert pause.left_out() == 1
