"""The grpc.aio shell, spoken to by a client written from the protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2

from control_plane.names import CDS, LDS
from control_plane.xds.fleet.fleet import Fleet
from control_plane.xds.resource import Resource
from control_plane.xds.server.server import Limits, XdsServer
from control_plane.xds.session.delta import DeltaSession
from control_plane.xds.snapshot import Snapshot
from control_plane.xds.snapshot_cache import SnapshotCache
from tests.xds.server.wire import WAIT_S, Wire, clusters, first, read


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with Wire() as made:
        yield made


async def test_delta_over_the_wire(wire: Wire) -> None:
    wire.cache.set(clusters(1, "a", "b"))
    call = wire.stub.DeltaAggregatedResources()
    await call.write(first())
    response = await read(call)
    assert sorted(resource.name for resource in response.resources) == ["a", "b"]
    assert response.resources[0].resource.type_url == CDS
    await call.write(
        discovery_pb2.DeltaDiscoveryRequest(type_url=CDS, response_nonce=response.nonce)
    )
    assert await wire.fleet.wait(1, WAIT_S) == ()
    wire.cache.set(clusters(2, "b"))
    gone = await read(call)
    assert list(gone.removed_resources) == ["a"]
    assert wire.fleet.lagging(2) == ("n1",)
    await call.write(discovery_pb2.DeltaDiscoveryRequest(type_url=CDS, response_nonce=gone.nonce))
    assert await wire.fleet.wait(2, WAIT_S) == ()
    call.cancel()


async def test_state_of_the_world_over_the_wire(wire: Wire) -> None:
    wire.cache.set(clusters(1, "a"))
    call = wire.stub.StreamAggregatedResources()
    node = base_pb2.Node(id="n2", cluster="edge")
    await call.write(discovery_pb2.DiscoveryRequest(node=node, type_url=CDS))
    response = await read(call)
    assert [resource.type_url for resource in response.resources] == [CDS]
    await call.write(
        discovery_pb2.DiscoveryRequest(
            type_url=CDS, response_nonce=response.nonce, version_info=response.version_info
        )
    )
    assert await wire.fleet.wait(1, WAIT_S) == ()
    call.cancel()


async def test_a_nack_shows_in_the_fleet_with_its_text(wire: Wire) -> None:
    wire.cache.set(clusters(1, "a"))
    call = wire.stub.DeltaAggregatedResources()
    await call.write(first())
    response = await read(call)
    refusal = discovery_pb2.DeltaDiscoveryRequest(type_url=CDS, response_nonce=response.nonce)
    refusal.error_detail.message = "a is no cluster"
    await call.write(refusal)
    async with asyncio.timeout(WAIT_S):
        while (status := wire.fleet.nodes()[0]).state != "NACKED":
            await asyncio.sleep(0.01)
    assert status.types[0].error == "a is no cluster"
    assert status.types[0].rejected == ("a",)
    assert await wire.fleet.wait(1, 0.05) == ("n1",)
    call.cancel()


async def test_reconnecting_with_unchanged_data_sends_no_resources(wire: Wire) -> None:
    snapshot = clusters(1, *"abcdef", body=b"\x0a\x01x")
    wire.cache.set(snapshot)
    versions = {name: one.version for name, one in snapshot.of_type(CDS).items()}
    calls = []
    for number in range(20):
        call = wire.stub.DeltaAggregatedResources()
        await call.write(first(f"node-{number}", initial_resource_versions=versions))
        calls.append(call)
    async with asyncio.timeout(WAIT_S):
        while len(wire.fleet.nodes()) < 20 or wire.fleet.lagging(1):
            await asyncio.sleep(0.01)
    assert wire.xds.sent_resource_bytes == 0
    for call in calls:
        call.cancel()


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


def test_only_so_many_disconnected_nodes_are_remembered() -> None:
    fleet = Fleet(max_disconnected=3)
    stays = DeltaSession()
    fleet.connected("n0", "edge", "1.40.0", stays)
    for number in range(1, 10):
        session = DeltaSession()
        fleet.connected(f"n{number}", "edge", "1.40.0", session)
        fleet.disconnected(f"n{number}", session)
    assert [node.id for node in fleet.nodes()] == ["n0", "n7", "n8", "n9"]
    back = DeltaSession()
    fleet.connected("n7", "edge", "1.40.0", back)
    for number in (10, 11):
        session = DeltaSession()
        fleet.connected(f"n{number}", "edge", "1.40.0", session)
        fleet.disconnected(f"n{number}", session)
    assert [node.id for node in fleet.nodes()] == ["n0", "n10", "n11", "n7", "n9"]


@pytest.mark.parametrize("node", ["", "a b", "x" * 300, "a\nb"])
async def test_a_malformed_node_id_is_refused(wire: Wire, node: str) -> None:
    call = wire.stub.DeltaAggregatedResources()
    await call.write(first(node))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await read(call)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert wire.fleet.nodes() == ()


async def test_streams_are_limited() -> None:
    async with Wire(Limits(streams=1)) as wire:
        wire.cache.set(clusters(1, "a"))
        call = wire.stub.DeltaAggregatedResources()
        await call.write(first("n1"))
        await read(call)
        second = wire.stub.DeltaAggregatedResources()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            # Whichever of the two learns of it first.
            await second.write(first("n2"))
            await read(second)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        call.cancel()


async def test_an_answer_that_never_comes_is_not_waited_for_for_ever() -> None:
    async with Wire(Limits(gate_timeout_s=0.2)) as wire:
        wire.cache.set(Snapshot(1, [Resource.of(CDS, "a", b""), Resource.of(LDS, "edge", b"")]))
        call = wire.stub.DeltaAggregatedResources()
        await call.write(first())
        assert (await read(call)).type_url == CDS
        await call.write(discovery_pb2.DeltaDiscoveryRequest(type_url=LDS))
        assert (await read(call)).type_url == LDS
        call.cancel()


async def test_a_disconnected_node_is_remembered_and_not_waited_for(wire: Wire) -> None:
    wire.cache.set(clusters(1, "a"))
    call = wire.stub.DeltaAggregatedResources()
    await call.write(first())
    await read(call)
    call.cancel()
    async with asyncio.timeout(WAIT_S):
        while wire.fleet.nodes()[0].connected:
            await asyncio.sleep(0.01)
    assert wire.fleet.nodes()[0].state == "DISCONNECTED"
    assert await wire.fleet.wait(99, 0.05) == ()


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
