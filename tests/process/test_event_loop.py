"""Programs run until a signal comes."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
import uvloop

from control_plane.process.event_loop import run_loop, until_signal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_program_goes_on_from_its_signal(number: signal.Signals) -> None:
    async def main() -> type[asyncio.AbstractEventLoop]:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), number)
        await until_signal()
        return type(asyncio.get_running_loop())

    assert run_loop(main()) is uvloop.Loop
