"""The loop's lag is what a step adds to a wait, and its own share is what the process computed."""

from __future__ import annotations

import asyncio
import contextlib

from control_plane.process.loop_lag import INTERVAL_S, LoopLag


class Record:
    def __init__(self) -> None:
        self.lags: list[tuple[float, float]] = []

    def lagged(self, lag_s: float, own_s: float) -> None:
        self.lags.append((lag_s, own_s))
        raise asyncio.CancelledError


async def measured(times: list[float], busy: list[float]) -> tuple[float, float]:
    """Return what is recorded if the two clocks show these times around a wait."""
    record = Record()
    lag = LoopLag(record, iter(times).__next__, iter(busy).__next__)
    with contextlib.suppress(asyncio.CancelledError):
        await lag.run()
    return record.lags[0]


async def test_a_step_that_computes_is_the_process_s_own_lag() -> None:
    lag_s, own_s = await measured([0.0, 0.3 + INTERVAL_S], [5.0, 5.4])
    assert round(lag_s, 6) == round(own_s, 6) == 0.3


async def test_what_other_programs_took_is_not_its_own() -> None:
    lag_s, own_s = await measured([0.0, 0.3 + INTERVAL_S], [5.0, 5.1])
    assert (round(lag_s, 6), round(own_s, 6)) == (0.3, 0.1)


async def test_a_loop_in_time_has_no_lag() -> None:
    assert await measured([0.0, INTERVAL_S / 2], [5.0, 5.1]) == (0.0, 0.0)
