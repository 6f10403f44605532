"""How one stream ends, known to all of its tasks and to nothing that refers back to the stream.

The problem: what a stream hands to its parts must not refer to the stream itself. Such a circle
keeps the stream, its session and all of its subscriptions until Python's cycle collector runs. A
thousand nodes that reconnect at once leave a thousand dead streams behind, and a full collection
in the middle of a reconnect costs a third of its processor time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class StreamEnd:
    """The end of one stream: it comes once, with an error or without."""

    def __init__(self) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the stream is to end; it has the error, if there is one."""

    def end(self, error: BaseException | None = None) -> None:
        """End the stream, with an error if one is given. Later calls change nothing."""
        if self.future.done():
            return
        if error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(error)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task whose failure ends the stream."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._task_ended)
        return task

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.end(error)
