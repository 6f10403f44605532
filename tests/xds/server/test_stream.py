"""One stream: who it is, how it ends, and that what fails on it ends nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from control_plane.names import EDS, LDS, RDS
from control_plane.xds.fleet.fleet import Fleet
from control_plane.xds.resource import Resource
from control_plane.xds.server.limits import Limits
from control_plane.xds.server.server import XdsServer
from control_plane.xds.session.delta import DeltaSession
from control_plane.xds.snapshot import Snapshot
from control_plane.xds.snapshot_cache import SnapshotCache
from tests.xds.server.wire import WAIT_S, Wire, answer, clusters, first, read, until


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with Wire() as made:
        yield made


async def test_another_node_id_on_the_same_stream_ends_it(wire: Wire) -> None:
    call = wire.stub.DeltaAggregatedResources()
    await call.write(first("n1"))
    await call.write(first("n2", LDS))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        while await read(call) is not grpc.aio.EOF:
            pass
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "n1" in str(caught.value.details())


async def test_another_group_on_the_same_stream_ends_it(wire: Wire) -> None:
    call = wire.stub.DeltaAggregatedResources()
    await call.write(first("n1"))
    moved = first("n1", LDS)
    moved.node.cluster = "other"
    await call.write(moved)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        while await read(call) is not grpc.aio.EOF:
            pass
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "'other'" in str(caught.value.details())


async def test_a_stream_that_never_says_who_it_is_is_ended() -> None:
    async with Wire(Limits(hello_timeout_s=0.1)) as wire:
        call = wire.stub.DeltaAggregatedResources()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(call)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("node", ["", "a b", "x" * 300, "a\nb"])
async def test_a_malformed_node_id_is_refused(wire: Wire, node: str) -> None:
    call = wire.stub.DeltaAggregatedResources()
    await call.write(first(node))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await read(call)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert wire.fleet.nodes() == ()


class NoContext:
    """A call whose client says one thing, then leaves when told; it reads nothing."""

    def __init__(self, left: asyncio.Event) -> None:
        self._left = left
        self._said = False

    async def read(self) -> Any:
        if self._said:
            await self._left.wait()
            return grpc.aio.EOF
        self._said = True
        return first()

    async def write(self, payload: bytes) -> None:
        await asyncio.sleep(0)

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"


@pytest.mark.parametrize("steps", range(12))
async def test_a_stream_that_is_cancelled_while_it_ends_leaves_nothing_behind(steps: int) -> None:
    """gRPC cancels the handler of a client that is gone, at whatever point that has got to."""
    xds, left = XdsServer(SnapshotCache(), Fleet()), asyncio.Event()
    xds.cache.set(clusters(1, "a"))

    serving = asyncio.create_task(xds.serve(DeltaSession(), NoContext(left), ""))
    assert await xds.fleet.joined("n1", WAIT_S)
    left.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert [node.connected for node in xds.fleet.nodes()] == [False]
    assert xds.streams == 0


async def test_a_session_that_fails_keeps_the_snapshot_from_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Wire() as wire:
        wire.cache.set(clusters(1, "a"))
        calls = {}
        for node in ("broken", "other"):
            calls[node] = call = wire.stub.DeltaAggregatedResources()
            await call.write(first(node))
            await call.write(answer(await read(call)))
        await until(lambda: wire.fleet.lagging(1) == ())
        (broken,) = wire.fleet._nodes["broken"].sessions

        def fail(_: Snapshot) -> list[Any]:
            raise RuntimeError("a bug")

        monkeypatch.setattr(broken, "on_snapshot", fail)
        wire.cache.set(clusters(2, "a", "b"))
        assert [one.name for one in (await read(calls["other"])).resources] == ["b"]
        with pytest.raises(grpc.aio.AioRpcError):
            await read(calls["broken"])
        await until(lambda: wire.xds.streams == 1)
        calls["other"].cancel()


async def refused(wire: Wire, *requests: Any) -> grpc.aio.AioRpcError:
    """How a stream ends that sends these requests."""
    call = wire.stub.DeltaAggregatedResources()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        for request in requests:
            await call.write(request)
        while await read(call) is not grpc.aio.EOF:
            pass
    return caught.value


async def test_names_that_are_not_published_are_bounded_over_all_types(wire: Wire) -> None:
    few, many = ([f"n{number}" for number in range(count)] for count in (8_000, 13_000))
    error = await refused(
        wire,
        first(type_url=EDS, resource_names_subscribe=few),
        first(type_url=RDS, resource_names_subscribe=many),
    )
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "21000 names (" in str(error.details())
    assert "unsubscribe from some" in str(error.details())


async def test_the_length_of_names_that_are_not_published_is_bounded(wire: Wire) -> None:
    error = await refused(wire, first(type_url=EDS, resource_names_subscribe=["x" * 3_000_000]))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_published_names_do_not_count(wire: Wire) -> None:
    names = [f"c{number}" for number in range(22_000)]
    wire.cache.set(Snapshot(1, [Resource.of(EDS, name, b"") for name in names]))
    call = wire.stub.DeltaAggregatedResources()
    await call.write(first(type_url=EDS, resource_names_subscribe=[*names, "other"]))
    assert len((await read(call)).resources) == 22_000
    call.cancel()


@pytest.mark.parametrize(
    "request_",
    [
        first(type_url="t" * 257),
        first(initial_resource_versions={str(n): "" for n in range(100_001)}),
    ],
    ids=["type", "versions"],
)
async def test_what_a_request_holds_is_bounded(wire: Wire, request_: Any) -> None:
    error = await refused(wire, request_)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(str(error.details())) < 200


async def test_a_refusal_repeats_no_more_than_the_beginning_of_a_foreign_name(wire: Wire) -> None:
    error = await refused(wire, first("n1"), first("x" * 1_000_000, LDS))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(str(error.details())) < 1_000


async def test_a_node_has_no_more_than_its_share_of_streams() -> None:
    async with Wire(Limits(streams_per_node=2)) as wire:
        wire.cache.set(clusters(1, "a"))
        open_calls = [wire.stub.DeltaAggregatedResources() for _ in range(2)]
        for call in open_calls:
            await call.write(first("n1"))
            await read(call)
        error = await refused(wire, first("n1"))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "'n1' has 2 streams open" in str(error.details())
        other = wire.stub.DeltaAggregatedResources()
        await other.write(first("n2"))
        assert len((await read(other)).resources) == 1
        for call in (*open_calls, other):
            call.cancel()
