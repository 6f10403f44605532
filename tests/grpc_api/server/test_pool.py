"""Blocking calls: bounds, deadlines, callers who leave, and the end."""

from __future__ import annotations

import asyncio
import threading

import pytest

from control_plane.grpc_api.server.pool import CallPool
from control_plane.grpc_api.wire.status import CallError, Code

WAIT_S = 10.0


async def test_more_than_the_bound_is_refused_and_what_began_is_finished() -> None:
    work = CallPool(threads=1, max_calls=2)
    go = threading.Event()
    first = asyncio.create_task(work.run(lambda: go.wait(WAIT_S), None))
    second = asyncio.create_task(work.run(lambda: 7, None))
    await asyncio.sleep(0)
    with pytest.raises(CallError) as refused:
        await work.run(lambda: 8, None)
    assert refused.value.code is Code.RESOURCE_EXHAUSTED
    go.set()
    assert (await first, await second) == (True, 7)
    assert await work.run(lambda: 9, None) == 9
    await work.close()
    with pytest.raises(CallError) as closed:
        await work.run(lambda: 9, None)
    assert closed.value.code is Code.UNAVAILABLE


async def test_work_is_not_begun_after_its_deadline() -> None:
    work = CallPool(threads=1, max_calls=4)
    go, ran = threading.Event(), threading.Event()
    first = asyncio.create_task(work.run(lambda: go.wait(WAIT_S), None))
    second = asyncio.create_task(work.run(ran.set, 0.01))
    await asyncio.sleep(0.05)
    go.set()
    assert await first
    with pytest.raises(CallError) as late:
        await second
    assert late.value.code is Code.DEADLINE_EXCEEDED
    assert not ran.is_set()
    await work.close()


async def test_a_caller_who_leaves_stops_what_waits_but_not_what_has_begun() -> None:
    work = CallPool(threads=1, max_calls=2)
    begun, go, ended, ran = (threading.Event() for _ in range(4))

    def transaction() -> None:
        begun.set()
        assert go.wait(WAIT_S)
        ended.set()

    first = asyncio.create_task(work.run(transaction, None))
    second = asyncio.create_task(work.run(ran.set, None))
    assert await asyncio.to_thread(begun.wait, WAIT_S)
    for task in (first, second):
        task.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    go.set()
    await work.close()
    assert ended.is_set()
    assert not ran.is_set()
