"""The background tasks of a program: all of them start here, by name, and end together.

What a background task reads comes from databases, cells, nodes and files, and no list of what can
be wrong with those is complete. So a task that raises does not end the program: it is logged,
counted, and its work is started again, ever later while it goes on failing. A task that keeps
failing raises an alarm, which a control plane shows in ``/readyz``. Only a vital task ends the
program, with one line that says why: a server whose socket is closed has nothing that a restart
could serve on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from control_plane.process.restart_delay import RestartDelay

log = logging.getLogger(__name__)
Work = Callable[[], Coroutine[Any, Any, None]]
FIRST_RESTART_S = 0.1
MAX_RESTART_S = 30.0
CALM_S = 60.0
"""The failures of a task that has run this long are forgotten."""
WELL_S = 5.0
"""The alarm ends when a task has run this long, or twice as long as it ran before its failures."""
FAILURES_TO_ALARM = 3
"""So many failures in a row, without `CALM_S` between two of them, raise the alarm."""
MAX_TEXT = 300
"""Characters of an error's text in the alarm: the text may quote what strangers sent."""


class VitalTaskEnded(Exception):
    """A task without which the program can't work has ended; the message says why."""


class Observer(Protocol):
    """Is told what happens to tasks, for metrics."""

    def task_started(self, name: str) -> None:
        """Record that there is a task of this name."""

    def task_restarted(self, name: str) -> None:
        """Record that a task has failed and is started again."""


@dataclass(slots=True)
class _Health:
    """How a task has fared lately."""

    failures: int = 0
    """How many times in a row it has failed."""
    error: str = ""
    """What the last failure was, in one line."""
    longest_life_s: float = 0.0
    """How long it ran at most before one of these failures."""
    running_since: float | None = None
    """When it was started last, in monotonic seconds; None while it waits for its restart."""

    def keeps_failing(self, now: float) -> bool:
        """Return whether it has failed often, and has not been well since."""
        # A task that fails after 10 s each time is not well after 5 s.
        enough_s = min(max(WELL_S, 2 * self.longest_life_s), CALM_S)
        well = self.running_since is not None and now - self.running_since >= enough_s
        return self.failures >= FAILURES_TO_ALARM and not well

    def failed(self, text: str, lived_s: float) -> None:
        """Record a failure after a life of some seconds."""
        calm = lived_s >= CALM_S
        self.failures = 1 if calm else self.failures + 1
        self.longest_life_s = 0.0 if calm else max(self.longest_life_s, lived_s)
        self.error = text
        self.running_since = None


class BackgroundTasks:
    """Tasks that run until the program stops; those that fail are started again.

    After the first vital task has ended, others that fail are only logged: another cancellation
    would break off the stopping of the other parts, and a gRPC server that is not stopped to its
    end keeps the process from ending.
    """

    def __init__(
        self,
        owner: asyncio.Task[Any] | None,
        observer: Observer,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep,
    ) -> None:
        """Start nothing yet.

        Args:
            owner: is cancelled when a vital task ends.
            observer: is told of tasks and their restarts.
            clock: monotonic seconds.
            sleep: waits for a number of seconds.
        """
        self._owner = owner
        self._observer = observer
        self._clock = clock
        self._sleep = sleep
        self._tasks: set[asyncio.Task[None]] = set()
        self._health: dict[str, _Health] = {}
        self._stopping = False
        self.ended: VitalTaskEnded | None = None
        """Why the owner was cancelled, if it was cancelled here."""

    def start(self, name: str, work: Work, *, vital: bool = False) -> None:
        """Run ``work()`` until it is cancelled.

        Args:
            name: for the log, the metrics and the alarm; each task has its own.
            work: is called again after it has raised. Work that returns is done.
            vital: whether the program ends when the work raises or returns.
        """
        self._observer.task_started(name)
        running = self._vital(name, work) if vital else self._supervised(name, work)
        self._tasks.add(asyncio.create_task(running, name=name))

    async def stop(self) -> None:
        """Cancel all tasks and wait until they have ended."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def alarm(self) -> str | None:
        """Which tasks keep failing, and why; None if none does."""
        now = self._clock()
        failing = [
            f"background task {name!r} keeps failing: {health.error}"
            for name, health in self._health.items()
            if health.keeps_failing(now)
        ]
        return "; ".join(failing) or None

    async def _supervised(self, name: str, work: Work) -> None:
        delay = RestartDelay(FIRST_RESTART_S, MAX_RESTART_S, CALM_S)
        health = self._health[name] = _Health()
        while True:
            health.running_since = started = self._clock()
            error = await _failure_of(work)
            if error is None or self._stopping:
                _log_at_stop(name, error)
                return
            lived_s = self._clock() - started
            wait_s = delay.after(lived_s)
            _note(name, health, error, lived_s, wait_s)
            await self._sleep(wait_s)
            self._observer.task_restarted(name)

    async def _vital(self, name: str, work: Work) -> None:
        error = await _failure_of(work)
        if self._stopping:
            _log_at_stop(name, error)
            return
        why = "it has ended by itself" if error is None else _one_line(error)
        text = f"the {name} can't go on: {why}"
        log.critical("%s", text, exc_info=error)
        if self._owner is not None and self.ended is None and not self._owner.cancelling():
            self.ended = VitalTaskEnded(text)
            self._owner.cancel()


def _note(name: str, health: _Health, error: BaseException, lived_s: float, wait_s: float) -> None:
    """Record a failure, and log it unless it is the same as the one before."""
    text = _one_line(error)
    repeated = lived_s < CALM_S and text == health.error
    health.failed(text, lived_s)
    if not repeated:
        message = "background task %r has failed, and is started again in %.1f s: %s"
        log.error(message, name, wait_s, text, exc_info=error)


async def _failure_of(work: Work) -> BaseException | None:
    """Return what the work raises, None if it returns.

    A cancellation that nobody asked this task for is a failure of the work, too.
    """
    try:
        await work()
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return error
    except Exception as error:  # noqa: BLE001 - whatever it is, the caller decides
        return error
    return None


def _log_at_stop(name: str, error: BaseException | None) -> None:
    """Log what a task raised when it was cancelled, if it raised anything."""
    if error is not None:
        log.error("background task %r has failed at its end", name, exc_info=error)


def _one_line(error: BaseException) -> str:
    """Return the kind and the text of an error in one line of printable characters."""
    text = " ".join(str(error)[: 4 * MAX_TEXT].split())[:MAX_TEXT]
    printable = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)
    return f"{type(error).__name__}: {printable}" if printable else type(error).__name__


@contextlib.asynccontextmanager
async def background_tasks(observer: Observer) -> AsyncIterator[BackgroundTasks]:
    """Yield a program's tasks, owned by the current task; stop them on leaving.

    Raises:
        VitalTaskEnded: the block was cancelled because a vital task has ended.
    """
    owner = asyncio.current_task()
    tasks = BackgroundTasks(owner, observer)
    try:
        yield tasks
    except asyncio.CancelledError:
        # As `asyncio.timeout` does: only a cancellation of our own becomes another error.
        if tasks.ended is None or owner is None or owner.uncancel() > 0:
            raise
        raise tasks.ended from None
    finally:
        await tasks.stop()
