"""Runs operations: work that takes longer than a request, one bounded transaction at a time."""

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
"""An operation's work. It reports its progress, and returns how much it has done in the end."""


class _StoppingError(Exception):
    """The server stops, so the operation ends after its present transaction."""


class OperationRunner:
    """Runs operations in threads. At shutdown each ends after its present transaction."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = threading.Event()

    async def start(
        self, kind: str, target: str, total: int | None, work: Work, *, actor: str
    ) -> Operation:
        """Begin an operation, and return it as it is stored.

        Args:
            kind: The operation's kind, for example ``release-claims``.
            target: The name of the cell that it is about.
            total: How much there is to do; None if that is not known.
            work: Does it, in a thread.
            actor: Who began it, for the audit.

        Raises:
            Refused: The same operation on the same target runs already.
            ProblemError: (503) Too many operations run, or the server stops.
        """
        if len(self._tasks) >= MAX_RUNNING or self._stopping.is_set():
            detail = f"{len(self._tasks)} operations run already; try again later"
            raise ProblemError(503, detail, code="busy")
        operation = await run_in_threadpool(
            self._topology.operations.start, kind, target, total, actor=actor
        )
        task = asyncio.create_task(self._run(operation, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return operation

    async def close(self) -> None:
        """Have all operations end after their present transactions, and wait for that."""
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
                raise _StoppingError

        try:
            last = work(progress)
            state, detail = OperationState.DONE, ""
        except _StoppingError:
            state, detail = OperationState.INTERRUPTED, "the server stopped; start it again"
        except TopologyError as error:
            log.exception("operation %s (%s of %s)", operation.id, operation.kind, operation.target)
            state, detail = OperationState.FAILED, str(error)
        try:
            self._topology.operations.note(operation.id, last, state, detail)
        except TopologyError:
            # The operation will be shown as interrupted.
            log.exception("operation %s ended as %s, which could not be noted", operation.id, state)
