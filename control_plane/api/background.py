"""Carries out what takes longer than a request, one bounded transaction after another."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool

from control_plane.api.problem import ProblemError
from control_plane.topology import Operation, OperationState, Progress, Topology
from control_plane.topology.values.errors import TopologyError

log = logging.getLogger(__name__)
MAX_RUNNING = 8
Work = Callable[[Progress], int]


class _BrokenOffError(Exception):
    """The server stops."""


class Operations:
    """Runs operations in threads; at shutdown each ends after its present transaction."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = threading.Event()

    async def start(
        self, kind: str, target: str, total: int | None, work: Work, *, actor: str
    ) -> Operation:
        """Begin; raises `Refused` while the same runs, `ProblemError` (503) when too many do."""
        if len(self._tasks) >= MAX_RUNNING or self._stopping.is_set():
            detail = f"{len(self._tasks)} operations run already; try again later"
            raise ProblemError(503, detail, code="busy")
        begun = await run_in_threadpool(
            self._topology.operations.start, kind, target, total, actor=actor
        )
        task = asyncio.create_task(self._run(begun, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return begun

    async def close(self) -> None:
        """Break off what runs, and wait for it."""
        self._stopping.set()
        await asyncio.gather(*self._tasks)

    async def _run(self, operation: Operation, work: Work) -> None:
        await run_in_threadpool(self._carry_out, operation, work)

    def _carry_out(self, operation: Operation, work: Work) -> None:
        last = 0

        def progress(done: int) -> None:
            nonlocal last
            last = done
            self._topology.operations.note(operation.id, done)
            if self._stopping.is_set():
                raise _BrokenOffError

        try:
            last = work(progress)
            state, detail = OperationState.DONE, ""
        except _BrokenOffError:
            state, detail = OperationState.INTERRUPTED, "the server stopped; start it again"
        except TopologyError as error:
            log.exception("operation %s (%s of %s)", operation.id, operation.kind, operation.target)
            state, detail = OperationState.FAILED, str(error)
        try:
            self._topology.operations.note(operation.id, last, state, detail)
        except TopologyError:
            # It will show as interrupted.
            log.exception("operation %s ended as %s, which could not be noted", operation.id, state)
