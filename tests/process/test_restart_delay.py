"""What keeps failing is started ever later, and at once again after a calm life."""

from __future__ import annotations

from control_plane.process.restart_delay import RestartDelay


def test_what_keeps_dying_is_started_ever_later_but_soon() -> None:
    delay = RestartDelay(0.5, longest_s=5.0, calm_s=10.0)
    assert [delay.after(0.1) for _ in range(6)] == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert [delay.after(35.0) for _ in range(20)] == [0.5] * 20, "killed now and then"
    assert delay.after(0.1) == 1.0


def test_a_longer_wait_than_the_longest_is_kept_if_it_is_asked_for() -> None:
    delay = RestartDelay(30.0, longest_s=5.0, calm_s=10.0)
    assert [delay.after(0.1) for _ in range(3)] == [30.0, 30.0, 30.0]
