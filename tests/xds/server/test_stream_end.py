"""A stream ends once, with its first error; and nothing of it outlives it."""

from __future__ import annotations

import asyncio
import gc

import grpc
import pytest

from control_plane.xds.server.sender import Sender
from control_plane.xds.server.stream import Stream
from control_plane.xds.server.stream_end import StreamEnd
from control_plane.xds.session.delta import DeltaSession
from tests.xds.server.wire import Wire, answer, clusters, first, read, until

PARTS = (Stream, Sender, DeltaSession)


async def test_the_first_end_counts() -> None:
    end = StreamEnd()
    end.end(ValueError("first"))
    end.end()
    with pytest.raises(ValueError, match="first"):
        await end.future


async def test_a_task_that_fails_ends_the_stream_with_its_error() -> None:
    async def fail() -> None:
        raise ValueError("the task's")

    end = StreamEnd()
    end.spawn(asyncio.sleep(0))
    end.spawn(fail())
    with pytest.raises(ValueError, match="the task's"):
        await end.future


async def test_an_ended_stream_is_freed_without_the_cycle_collector() -> None:
    async with Wire(newest_revision=lambda: 1) as wire:
        wire.cache.set(clusters(1, "a"))
        gc.collect()
        gc.disable()
        try:
            call = wire.stub.DeltaAggregatedResources()
            await call.write(first())
            await call.write(answer(await read(call)))
            await until(lambda: wire.fleet.nodes()[0].acked_revision == 1)
            await call.done_writing()
            assert await read(call) is grpc.aio.EOF
            del call
            await until(lambda: not any(isinstance(one, PARTS) for one in gc.get_objects()))
        finally:
            gc.enable()
