"""Updates that wait are written together; each has its own answer, bound and deadline."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue

from control_plane.grpc_api.server.write_queue import QueuedWrite, WriteQueue
from control_plane.grpc_api.wire.status import CallError, Code
from control_plane.topology.storage.group_commit import MAX_JOBS, Job, Write
from control_plane.topology.values.errors import TopologyError

WAIT_S = 10.0


class Writer:
    """Stands for the store: writes nothing, and only when it is let."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.begun = threading.Event()
        self.go = threading.Event()
        self.broken = False

    def carry_out(self, writes: Sequence[Write[Any]]) -> Sequence[Job[Any]]:
        self.groups.append([write.actor for write in writes])
        self.begun.set()
        assert self.go.wait(WAIT_S)
        if self.broken:
            raise TopologyError("the writer is broken")
        jobs = [Job(write) for write in writes]
        for job in jobs:
            if job.write.actor.startswith("bad"):
                job.fail(TopologyError(job.write.actor))
            job.value = job.write.actor
            job.succeed()
        return jobs


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
async def updates(writer: Writer) -> AsyncIterator[WriteQueue]:
    made = WriteQueue(writer.carry_out, max_calls=3, threads=1)
    yield made
    writer.go.set()
    await made.close()


def named(name: str) -> Callable[[], QueuedWrite]:
    def nothing(*_: object) -> None:
        return None

    write = Write((), nothing, name)
    return lambda: QueuedWrite(write, lambda value: StringValue(value=value))


async def started(
    updates: WriteQueue, name: str, *, settles: bool = False, remaining_s: float | None = None
) -> asyncio.Task[Message]:
    task = asyncio.create_task(updates.run(named(name), remaining_s, settles=settles))
    await asyncio.sleep(0)
    return task


async def busy(updates: WriteQueue, writer: Writer) -> asyncio.Task[Message]:
    """Have the one thread wait in a write."""
    first = await started(updates, "first")
    assert await asyncio.to_thread(writer.begun.wait, WAIT_S)
    return first


async def test_what_waits_goes_together_and_what_settles_goes_first(
    updates: WriteQueue, writer: Writer
) -> None:
    tasks = [await busy(updates, writer)]
    tasks += [await started(updates, name) for name in ("a", "bad b")]
    tasks += [await started(updates, name, settles=True) for name in ("c", "d")]
    writer.go.set()
    made = await asyncio.gather(*tasks, return_exceptions=True)
    assert writer.groups == [["first"], ["c", "d", "a", "bad b"]]
    assert str(made.pop(2)) == "bad b"
    assert made == [StringValue(value=name) for name in ("first", "a", "c", "d")]


async def test_each_kind_has_a_bound_of_its_own(updates: WriteQueue, writer: Writer) -> None:
    tasks = [await busy(updates, writer)]
    for settles, names in ((False, "ab"), (True, "cde")):
        tasks += [await started(updates, name, settles=settles) for name in names]
        with pytest.raises(CallError) as refused:
            await updates.run(named("x"), None, settles=settles)
        assert refused.value.code is Code.RESOURCE_EXHAUSTED
    writer.go.set()
    assert len(await asyncio.gather(*tasks)) == 6
    assert await updates.run(named("y"), None, settles=False) == StringValue(value="y")


async def test_what_is_late_or_whose_caller_has_left_is_not_begun(
    updates: WriteQueue, writer: Writer
) -> None:
    first = await busy(updates, writer)
    late = await started(updates, "late", remaining_s=0.01)
    left = await started(updates, "left")
    left.cancel()
    await asyncio.sleep(0.05)
    writer.go.set()
    with pytest.raises(CallError) as caught:
        await late
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert await first == StringValue(value="first")
    # Its place is free again, and so is that of the late one.
    more = [await started(updates, name) for name in "abc"]
    assert len(await asyncio.gather(*more)) == 3
    assert sorted(name for group in writer.groups[1:] for name in group) == ["a", "b", "c"]


async def test_one_that_is_malformed_fails_alone(updates: WriteQueue, writer: Writer) -> None:
    def malformed() -> QueuedWrite:
        raise ValueError("no such thing")

    first = await busy(updates, writer)
    wrong = asyncio.create_task(updates.run(malformed, None, settles=False))
    right = await started(updates, "right")
    writer.go.set()
    made = await asyncio.gather(first, wrong, right, return_exceptions=True)
    assert str(made[1]) == "no such thing"
    assert made[2] == StringValue(value="right")


async def test_each_of_a_group_is_told_that_it_failed(updates: WriteQueue, writer: Writer) -> None:
    writer.broken = True
    tasks = [await busy(updates, writer), *[await started(updates, name) for name in "ab"]]
    writer.go.set()
    made = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(one) for one in made] == ["the writer is broken"] * 3
    writer.broken = False
    assert await updates.run(named("y"), None, settles=False) == StringValue(value="y")


async def test_a_group_is_bounded(writer: Writer) -> None:
    updates = WriteQueue(writer.carry_out, max_calls=4 * MAX_JOBS, threads=1)
    tasks = [await busy(updates, writer)]
    tasks += [await started(updates, str(number)) for number in range(2 * MAX_JOBS)]
    writer.go.set()
    await asyncio.gather(*tasks)
    assert [len(group) for group in writer.groups] == [1, MAX_JOBS, MAX_JOBS]
    await updates.close()


async def test_closing_finishes_what_waits_and_takes_nothing_new(
    updates: WriteQueue, writer: Writer
) -> None:
    tasks = [await busy(updates, writer), await started(updates, "waits")]
    closing = asyncio.create_task(updates.close())
    await asyncio.sleep(0.01)
    with pytest.raises(CallError) as refused:
        await updates.run(named("new"), None, settles=True)
    assert refused.value.code is Code.UNAVAILABLE
    assert not closing.done()
    writer.go.set()
    await closing
    assert await asyncio.gather(*tasks) == [StringValue(value=name) for name in ("first", "waits")]
