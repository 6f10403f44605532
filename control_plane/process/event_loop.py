"""The event loop of our programs: uvloop, until a signal comes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import Coroutine
from typing import Any

import uvloop

MAX_DIGITS = 640
"""Python takes no smaller limit. With its usual one, 2 MiB of numbers take 250 ms."""


async def until_signal() -> None:
    """Wait for SIGINT or SIGTERM, which meanwhile do not end the process by themselves."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


async def unless_signalled[T](work: Coroutine[Any, Any, T]) -> T | None:
    """Run a coroutine, and cancel it if SIGINT or SIGTERM comes; return None then.

    The loop cancels it, between two steps. `asyncio.Runner` would do so in the midst of one.
    """
    running = asyncio.create_task(work)
    signalled = asyncio.create_task(until_signal())
    await asyncio.wait((running, signalled), return_when=asyncio.FIRST_COMPLETED)
    signalled.cancel()
    if running.done():
        return running.result()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    return None


def settle() -> None:
    """Exempt from garbage collection what has been made so far; for the end of a program's start.

    A full collection walks all objects, and nothing else runs meanwhile. Modules, classes and
    routes are 300,000 of them, which takes 150 ms each time.
    """
    gc.collect()
    gc.freeze()


def run_loop[T](main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on uvloop, and return what it returns.

    The process then reads no number of more than `MAX_DIGITS` digits. The time that one takes grows
    with the square of its length, and JSON is read on the loop.
    """
    sys.set_int_max_str_digits(MAX_DIGITS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
