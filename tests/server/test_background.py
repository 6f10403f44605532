"""Background tasks run until the control plane stops; the first that fails ends it."""

from __future__ import annotations

import asyncio

import pytest

from control_plane.server.background import background_tasks


async def test_tasks_are_cancelled_and_waited_for() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(asyncio.current_task().get_name())

    async with background_tasks() as tasks:
        tasks.start("first", work)
        tasks.start("second", work)
        await asyncio.sleep(0)
    assert sorted(ended) == ["first", "second"]


async def test_a_task_that_ends_by_itself_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        return

    async with background_tasks() as tasks:
        tasks.start("short", work)
        await asyncio.sleep(0.01)
    assert caplog.records == []


async def test_a_failure_cancels_the_owner_and_is_logged_with_the_tasks_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work() -> None:
        raise RuntimeError("no database")

    async def owner() -> None:
        async with background_tasks() as tasks:
            tasks.start("publisher", work)
            await asyncio.Event().wait()

    owning = asyncio.create_task(owner())
    await asyncio.wait({owning})
    assert owning.cancelled()
    assert "a part has failed: publisher" in caplog.text
    assert "no database" in caplog.text
