"""The gRPC shell around the sessions, spoken to by clients that are written from the protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2

from control_plane.names import CDS, LDS
from control_plane.xds.resource import Resource
from control_plane.xds.server.limits import Limits
from control_plane.xds.snapshot import Snapshot
from tests.xds.server.wire import WAIT_S, Wire, answer, clusters, first, read, until


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


def many(revision: int, count: int) -> Snapshot:
    return clusters(revision, *(f"c{number}" for number in range(count)))


@pytest.mark.parametrize("left", [0, 4])
async def test_a_new_server_with_a_shrunk_database_takes_nothing_from_a_node(left: int) -> None:
    has = {name: one.version for name, one in many(9, 10).of_type(CDS).items()}
    async with Wire() as wire:
        wire.cache.set(many(1, left))
        call = wire.stub.DeltaAggregatedResources()
        await call.write(first(initial_resource_versions=has))
        await until(lambda: wire.xds.alarm is not None)
        lost = "n1: of 10 clusters of cells 4 would be left" if left else "n1: all clusters"
        assert lost in str(wire.xds.alarm)
        assert "force-shrink" in wire.fleet.nodes()[0].types[0].error
        assert await wire.fleet.wait(1, 0.05) == ("n1",)
        # Once the database is whole again, the node goes on.
        wire.cache.set(many(2, 9))
        assert list((await read(call)).removed_resources) == ["c9"]
        assert wire.xds.alarm is None
        call.cancel()


async def test_one_node_of_a_fleet_does_not_raise_the_alarm_by_what_it_says_it_has() -> None:
    async with Wire() as wire:
        wire.cache.set(many(1, 4))
        calls = [wire.stub.DeltaAggregatedResources() for _ in range(3)]
        for number, call in enumerate(calls[1:]):
            await call.write(first(f"good-{number}"))
            await read(call)
        claimed = {f"made-up-{number}": "1" for number in range(100)}
        await calls[0].write(first("liar", initial_resource_versions=claimed))
        await until(lambda: wire.fleet.connected_nodes == 3)
        assert wire.xds.alarm is None
        (liar,) = [node for node in wire.fleet.nodes() if node.id == "liar"]
        assert "force-shrink" in liar.types[0].error, "its own status says why it gets nothing"
        for call in calls:
            call.cancel()


async def test_a_forced_shrink_reaches_the_node() -> None:
    has = {name: one.version for name, one in many(9, 10).of_type(CDS).items()}
    async with Wire(force_shrink=True) as wire:
        wire.cache.set(many(1, 1))
        call = wire.stub.DeltaAggregatedResources()
        await call.write(first(initial_resource_versions=has))
        assert len((await read(call)).removed_resources) == 9
        assert wire.xds.alarm is None
        call.cancel()


async def test_an_empty_server_takes_no_clusters_in_state_of_the_world_either() -> None:
    async with Wire() as wire:
        call = wire.stub.StreamAggregatedResources()
        node = base_pb2.Node(id="n1", cluster="edge")
        await call.write(discovery_pb2.DiscoveryRequest(node=node, type_url=CDS, version_info="x"))
        await until(lambda: wire.xds.alarm is not None)
        wire.cache.set(clusters(1, "a"))
        assert len((await read(call)).resources) == 1
        call.cancel()


async def test_a_nack_leaves_every_other_node_and_resource_alone() -> None:
    def world(revision: int, **bodies: bytes) -> Snapshot:
        return Snapshot(revision, [Resource.of(CDS, name, body) for name, body in bodies.items()])

    async with Wire() as wire:
        wire.cache.set(world(1, a=b"1", b=b"1"))
        calls = {}
        for node in ("picky", "other"):
            calls[node] = call = wire.stub.DeltaAggregatedResources()
            await call.write(first(node))
            await call.write(answer(await read(call)))
        await until(lambda: wire.fleet.lagging(1) == ())

        wire.cache.set(world(2, a=b"bad", b=b"1"))
        await calls["picky"].write(answer(await read(calls["picky"]), "a is no good"))
        await calls["other"].write(answer(await read(calls["other"])))
        await until(lambda: wire.fleet.lagging(2) == ("picky",))
        states = {node.id: node.state for node in wire.fleet.nodes()}
        assert states == {"picky": "NACKED", "other": "SYNCED"}

        # Another resource of the same type reaches both; what was refused is not sent again.
        wire.cache.set(world(3, a=b"bad", b=b"2"))
        for call in calls.values():
            response = await read(call)
            assert [one.name for one in response.resources] == ["b"]
            await call.write(answer(response))
        await until(lambda: wire.fleet.lagging(3) == ("picky",))

        wire.cache.set(world(4, a=b"good", b=b"2"))
        for call in calls.values():
            response = await read(call)
            assert [one.name for one in response.resources] == ["a"]
            await call.write(answer(response))
        assert await wire.fleet.wait(4, 10) == ()
        for call in calls.values():
            call.cancel()
            with pytest.raises((asyncio.CancelledError, grpc.aio.AioRpcError)):
                await call.read()
