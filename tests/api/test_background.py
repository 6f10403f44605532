"""Operations run in threads, say how far they are, and end after a transaction."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.api.background import MAX_RUNNING, OperationRunner
from control_plane.api.problem import ProblemError
from control_plane.topology import Operation, OperationState, Progress, Topology
from control_plane.topology.values.errors import Refused, TopologyError

WAIT_S = 10.0


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    opened = Topology.open(f"sqlite:///{tmp_path}/t.db")
    yield opened
    opened.close()


async def ended(topology: Topology, runner: OperationRunner, operation: Operation) -> Operation:
    async with asyncio.timeout(WAIT_S):
        while (now := topology.operations.get(operation.id)).state is OperationState.RUNNING:
            await asyncio.sleep(0.005)
    return now


async def test_an_operation_says_how_much_it_has_done(topology: Topology) -> None:
    def work(progress: Progress) -> int:
        progress(1)
        return 2

    runner = OperationRunner(topology)
    operation = await runner.start("k", "t", 2, work, actor="a")
    end = await ended(topology, runner, operation)
    assert (end.state, end.done, end.detail) == (OperationState.DONE, 2, "")
    await runner.close()


async def test_an_error_of_the_topology_is_kept_with_the_progress(topology: Topology) -> None:
    def work(progress: Progress) -> int:
        progress(1)
        raise Refused("k", "the cell came back")

    runner = OperationRunner(topology)
    end = await ended(topology, runner, await runner.start("k", "t", 2, work, actor="a"))
    assert (end.state, end.done, end.detail) == (
        OperationState.FAILED,
        1,
        str(Refused("k", "the cell came back")),
    )
    await runner.close()


async def test_closing_ends_an_operation_after_its_transaction(topology: Topology) -> None:
    begun, go = threading.Event(), threading.Event()

    def work(progress: Progress) -> int:
        begun.set()
        assert go.wait(WAIT_S)
        progress(1)
        raise AssertionError("the operation went on")

    runner = OperationRunner(topology)
    operation = await runner.start("k", "t", None, work, actor="a")
    assert await asyncio.to_thread(begun.wait, WAIT_S)
    closing = asyncio.create_task(runner.close())
    await asyncio.sleep(0)
    go.set()
    await closing
    end = topology.operations.get(operation.id)
    assert (end.state, end.done) == (OperationState.INTERRUPTED, 1)
    with pytest.raises(ProblemError) as refused:
        await runner.start("k", "u", None, work, actor="a")
    assert refused.value.status == 503


async def test_operations_are_bounded_and_the_same_one_runs_once(topology: Topology) -> None:
    go = threading.Event()

    def work(_: Progress) -> int:
        assert go.wait(WAIT_S)
        return 0

    runner = OperationRunner(topology)
    for number in range(MAX_RUNNING - 1):
        await runner.start("k", str(number), None, work, actor="a")
    with pytest.raises(TopologyError):
        await runner.start("k", "0", None, work, actor="a")
    await runner.start("k", "last", None, work, actor="a")
    with pytest.raises(ProblemError, match="8 operations run already"):
        await runner.start("k", "more", None, work, actor="a")
    go.set()
    await runner.close()
