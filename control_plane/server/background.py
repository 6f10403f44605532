"""The background tasks of a control plane: all of them start here, by name, and end together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)
Work = Callable[[], Coroutine[Any, Any, None]]


class BackgroundTasks:
    """Tasks that run until the control plane stops. The first one that fails ends the program.

    Tasks that fail after it are only logged: another cancellation would break off the stopping of
    the other parts, and a gRPC server that is not stopped to its end keeps the process from ending.
    """

    def __init__(self, owner: asyncio.Task[Any] | None) -> None:
        """``owner`` is cancelled when a task fails."""
        self._owner = owner
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, name: str, work: Work) -> None:
        """Run ``work()`` until it is cancelled; its name is for the log."""
        task = asyncio.create_task(work(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Cancel all tasks and wait until they have ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            return
        log.critical("a part has failed: %s", task.get_name(), exc_info=task.exception())
        if self._owner is not None and not self._owner.cancelling():
            self._owner.cancel()


@contextlib.asynccontextmanager
async def background_tasks() -> AsyncIterator[BackgroundTasks]:
    """Yield a control plane's tasks, owned by the current task; stop them on leaving."""
    tasks = BackgroundTasks(asyncio.current_task())
    try:
        yield tasks
    finally:
        await tasks.stop()
