"""Moves whose time is over are rolled back, and a database in trouble ends nothing."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from control_plane.jobs.move_deadlines import MoveDeadlines
from control_plane.topology.values.errors import Unavailable


class Moves:
    def __init__(self) -> None:
        self.calls = 0

    def expire(self) -> list[int]:
        self.calls += 1
        if self.calls == 1:
            raise Unavailable("it is away")
        return []


class FakeTopology:
    def __init__(self) -> None:
        self.tenant_moves = Moves()


async def test_it_goes_on_looking_when_the_database_is_away() -> None:
    topology: Any = FakeTopology()
    task = asyncio.create_task(MoveDeadlines(topology, interval_s=0.001).run())
    async with asyncio.timeout(10):
        while topology.tenant_moves.calls < 3:
            await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
