"""Programs run until a signal comes."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
import uvloop

from control_plane.process.event_loop import run_loop, unless_signalled, until_signal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_program_goes_on_from_its_signal(number: signal.Signals) -> None:
    async def main() -> type[asyncio.AbstractEventLoop]:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), number)
        await until_signal()
        return type(asyncio.get_running_loop())

    assert run_loop(main()) is uvloop.Loop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_work_is_cancelled_by_a_signal_and_puts_things_in_order(number: signal.Signals) -> None:
    ended: list[str] = []

    async def work() -> str:
        try:
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), number)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("in order")
        return "done"

    assert run_loop(unless_signalled(work())) is None
    assert ended == ["in order"]


def test_work_without_a_signal_returns_or_raises_what_it_does() -> None:
    async def work(number: int) -> int:
        await asyncio.sleep(0)
        return 10 // number

    assert run_loop(unless_signalled(work(5))) == 2
    with pytest.raises(ZeroDivisionError):
        run_loop(unless_signalled(work(0)))
