"""Background tasks run until the program stops; only a vital one that ends ends it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

import pytest

from control_plane.process.background import (
    CALM_S,
    FAILURES_TO_ALARM,
    MAX_TEXT,
    WELL_S,
    BackgroundTasks,
    VitalTaskEnded,
    background_tasks,
)


class Restarts:
    """Counts what it is told, by the task's name."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def task_started(self, name: str) -> None:
        self.counts[name] += 0

    def task_restarted(self, name: str) -> None:
        self.counts[name] += 1


class Time:
    """A clock that only sleeping moves on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


async def failing(
    times: int,
    *,
    lives_s: Callable[[int], float] = lambda _: 0.0,
    error: Callable[[int], BaseException] = lambda _: RuntimeError("no database"),
) -> tuple[BackgroundTasks, Time, Restarts]:
    """Run a task that fails so many times, and then runs on; return its tasks, stopped."""
    time, restarts, runs = Time(), Restarts(), 0
    tasks = BackgroundTasks(None, restarts, lambda: time.now, time.sleep)
    well = asyncio.Event()

    async def work() -> None:
        nonlocal runs
        runs += 1
        time.now += lives_s(runs)
        if runs <= times:
            raise error(runs)
        well.set()
        await asyncio.Event().wait()

    tasks.start("publisher", work)
    async with asyncio.timeout(10):
        await well.wait()
    await tasks.stop()
    return tasks, time, restarts


async def test_tasks_are_cancelled_and_waited_for() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(asyncio.current_task().get_name())

    async with background_tasks(Restarts()) as tasks:
        tasks.start("first", work)
        tasks.start("second", work, vital=True)
        await asyncio.sleep(0)
    assert sorted(ended) == ["first", "second"]


async def test_a_task_that_ends_by_itself_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        return

    restarts = Restarts()
    async with background_tasks(restarts) as tasks:
        tasks.start("short", work)
        await asyncio.sleep(0.01)
    assert caplog.records == []
    assert restarts.counts == {"short": 0}, "its counter is shown before it has failed"


async def test_a_task_that_fails_is_started_again_and_counted() -> None:
    _, time, restarts = await failing(12)
    assert restarts.counts == {"publisher": 12}
    doubling = [0.1 * 2**n for n in range(9)]
    assert time.slept == pytest.approx([*doubling, 30.0, 30.0, 30.0])


async def test_a_task_that_ran_long_is_started_again_at_once() -> None:
    _, time, _ = await failing(6, lives_s=lambda run: CALM_S if run == 4 else 0.0)
    assert time.slept == pytest.approx([0.1, 0.2, 0.4, 0.1, 0.2, 0.4])


async def test_the_same_failure_is_logged_once_and_with_the_tasks_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await failing(9, error=lambda run: ValueError("a") if run < 6 else RuntimeError("b"))
    assert [one.getMessage() for one in caplog.records] == [
        "background task 'publisher' has failed, and is started again in 0.1 s: ValueError: a",
        "background task 'publisher' has failed, and is started again in 3.2 s: RuntimeError: b",
    ]
    assert all(one.exc_info for one in caplog.records)


async def test_a_task_that_keeps_failing_raises_the_alarm_until_it_has_run_for_long() -> None:
    few, _, _ = await failing(FAILURES_TO_ALARM - 1)
    assert few.alarm is None
    tasks, time, _ = await failing(FAILURES_TO_ALARM)
    expected = "background task 'publisher' keeps failing: RuntimeError: no database"
    assert tasks.alarm == expected
    time.now += WELL_S
    assert tasks.alarm is None


@pytest.mark.parametrize(("lives_s", "well_s"), [(0.1, WELL_S), (10, 20), (45, CALM_S)])
async def test_the_alarm_ends_soon_but_not_sooner_than_the_task_has_failed_before(
    lives_s: float, well_s: float
) -> None:
    tasks, time, _ = await failing(5, lives_s=lambda run: lives_s if run <= 5 else 0.0)
    time.now += well_s - 0.1
    assert tasks.alarm is not None
    time.now += 0.2
    assert tasks.alarm is None


async def test_failures_of_long_ago_raise_no_alarm() -> None:
    tasks, _, _ = await failing(20, lives_s=lambda _: CALM_S)
    assert tasks.alarm is None


async def test_the_alarm_is_one_short_printable_line() -> None:
    text = "a\n\x1b[31m\u202eb" + "c" * 10_000
    tasks, _, _ = await failing(FAILURES_TO_ALARM, error=lambda _: ValueError(text))
    assert tasks.alarm is not None
    assert tasks.alarm.isprintable()
    assert len(tasks.alarm) < MAX_TEXT + 100


@pytest.mark.parametrize(
    "error", [RecursionError(), MemoryError(), asyncio.CancelledError(), TimeoutError()]
)
async def test_whatever_a_task_raises_it_is_started_again(error: BaseException) -> None:
    _, _, restarts = await failing(2, error=lambda _: error)
    assert restarts.counts == {"publisher": 2}


async def test_a_task_that_fails_as_it_is_cancelled_is_not_started_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            raise RuntimeError("can't withdraw") from error

    async with asyncio.timeout(10), background_tasks(Restarts()) as tasks:
        tasks.start("reports", work)
        tasks.start("server", work, vital=True)
        await asyncio.sleep(0)
    assert {one.getMessage() for one in caplog.records} == {
        f"background task {name!r} has failed at its end" for name in ("reports", "server")
    }


async def raises() -> None:
    raise RuntimeError("no socket")


async def returns() -> None:
    return


@pytest.mark.parametrize(
    ("work", "why"), [(raises, "RuntimeError: no socket"), (returns, "it has ended by itself")]
)
async def test_a_vital_task_that_ends_ends_the_program_and_says_why(
    work: Callable[[], object], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(VitalTaskEnded, match=f"^the API server can't go on: {why}$"):
        async with background_tasks(Restarts()) as tasks:
            tasks.start("API server", work, vital=True)
            await asyncio.Event().wait()
    assert [one.levelno for one in caplog.records] == [logging.CRITICAL]
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling(), "whoever handles the error may go on"


async def test_a_cancellation_from_outside_stays_one() -> None:
    async def owner() -> None:
        async with background_tasks(Restarts()) as tasks:
            tasks.start("API server", raises, vital=True)
            owning.cancel()
            await asyncio.Event().wait()

    owning = asyncio.create_task(owner())
    await asyncio.wait({owning})
    assert owning.cancelled()
