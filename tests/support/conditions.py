"""Waiting for something to become true: a test asks again and again instead of sleeping.

Each wait has a bound that only a failure reaches: a machine that is busy with other tests may need
many seconds for what usually takes milliseconds.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

WAIT_S = 30.0
"""The usual bound."""
PAUSE_S = 0.02
"""How long a wait pauses between two questions."""


def wait_until[T](condition: Callable[[], T], timeout_s: float = WAIT_S) -> T:
    """Block until a condition holds, and return its value.

    Raises:
        AssertionError: the condition did not hold in time.
    """
    end = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < end, f"it did not happen within {timeout_s} seconds"
        time.sleep(PAUSE_S)
    return value


def holds_within(condition: Callable[[], object], timeout_s: float) -> bool:
    """Block until a condition holds or the time is over; tell which."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(PAUSE_S)
    return True


async def until(
    condition: Callable[[], object | Awaitable[object]], timeout_s: float = WAIT_S
) -> None:
    """Wait until a condition, which may be a coroutine function, holds.

    Raises:
        TimeoutError: the condition did not hold in time.
    """
    async with asyncio.timeout(timeout_s):
        while True:
            value = condition()
            if inspect.isawaitable(value):
                value = await value
            if value:
                return
            await asyncio.sleep(PAUSE_S)
