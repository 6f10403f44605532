"""Long work runs a few at a time, and nobody can take the places of all others."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from control_plane.api import long_work
from control_plane.api.long_work import MAX_OF_CALLER, MAX_UNDER_WAY, LongWork
from control_plane.api.problem import ProblemError
from tests.support.conditions import until


async def test_so_many_run_at_once_and_all_are_done() -> None:
    running, most = 0, 0
    lock, go_on = threading.Lock(), threading.Event()

    def work(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        go_on.wait(30)
        with lock:
            running -= 1
        return number

    threads = LongWork([].append, threads=2)
    tasks = [asyncio.create_task(threads.run("a", partial(work, one))) for one in range(10)]
    await until(lambda: running == 2)
    go_on.set()
    assert await asyncio.gather(*tasks) == list(range(10))
    assert most == 2


async def test_one_caller_s_work_leaves_room_for_others_until_all_is_taken() -> None:
    refused: list[str] = []
    go_on = threading.Event()
    threads = LongWork(refused.append, threads=1)
    tasks: list[asyncio.Task[bool]] = []

    async def begin(caller: str) -> None:
        tasks.append(asyncio.create_task(threads.run(caller, partial(go_on.wait, 30))))
        await asyncio.sleep(0)

    try:
        for number in range(MAX_UNDER_WAY):
            await begin(str(number // MAX_OF_CALLER))
        for caller in ("0", "new"):
            with pytest.raises(ProblemError, match="try again later") as error:
                await threads.run(caller, lambda: None)
            assert (error.value.status, error.value.members["code"]) == (503, "busy")
        assert refused == ["busy", "busy"]
    finally:
        go_on.set()
        await asyncio.gather(*tasks)
    assert await threads.run("0", lambda: 1) == 1


async def test_work_that_waits_too_long_is_refused_and_what_fails_frees_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(long_work, "FREE_THREAD_S", 0.05)
    threads, go_on = LongWork([].append, threads=1), threading.Event()
    first = asyncio.create_task(threads.run("a", partial(go_on.wait, 30)))
    await asyncio.sleep(0)
    with pytest.raises(ProblemError, match="no thread was free"):
        await threads.run("b", lambda: None)
    go_on.set()
    await first

    def fails() -> None:
        raise ValueError("of the work")

    for _ in range(3):
        with pytest.raises(ValueError, match="of the work"):
            await threads.run("a", fails)
    assert await threads.run("a", lambda: 2) == 2
