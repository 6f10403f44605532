"""Many streams are woken in slices, between which the loop has its turn."""

from __future__ import annotations

import asyncio

from control_plane.xds.server.wakes import SLICE_S, Wakes
from tests.support.conditions import until


async def test_all_are_woken_once_though_snapshots_come_meanwhile() -> None:
    now, woken = 0.0, []

    def waker(number: int) -> None:
        nonlocal now
        now += SLICE_S / 4
        woken.append(number)

    functions = [lambda number=number: waker(number) for number in range(20)]
    wakes = Wakes(lambda: now)
    wakes.wake(functions)
    assert woken == list(range(4))
    wakes.wake(functions[10:])
    assert len(woken) == 4, "the loop had no turn"
    await asyncio.sleep(0)
    assert len(woken) == 8
    wakes.forget(functions[19])
    await until(lambda: len(woken) == 19)
    assert sorted(woken) == list(range(19))


async def test_a_stream_that_has_had_its_turn_is_woken_for_the_next_snapshot() -> None:
    woken: list[str] = []
    wakes = Wakes()
    wake = lambda: woken.append("a")  # noqa: E731 - compared by identity
    wakes.wake([wake])
    wakes.wake([wake])
    assert woken == ["a", "a"]
