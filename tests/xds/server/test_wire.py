"""The subtle bugs of section 3.3 of the xDS facts that only show on the wire, by their numbers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2

from control_plane.compiler.model import TrafficPolicy
from control_plane.names import CDS, EDS, LDS, RDS, SDS
from control_plane.publisher.publisher import Publisher
from control_plane.topology import Topology
from control_plane.topology.values.cell import CellSpec, CellState
from control_plane.topology.values.endpoint import Endpoint
from control_plane.xds.resource import Resource
from control_plane.xds.server.limits import Limits
from control_plane.xds.server.transport import grpc_options
from control_plane.xds.snapshot import Snapshot
from control_plane.xds.snapshot_cache import SnapshotCache
from tests.xds.server.wire import Wire, answer, clusters, first, read, until


def world(revision: int, body: bytes) -> Snapshot:
    return Snapshot(revision, [Resource.of(url, "a", body) for url in (RDS, LDS, EDS, CDS)])


async def test_07_types_keep_their_order_on_the_wire() -> None:
    async with Wire() as wire:
        wire.cache.set(world(1, b"1"))
        call = wire.stub.DeltaAggregatedResources()
        await call.write(first())
        for url, names in ((EDS, ["a"]), (LDS, []), (RDS, ["a"])):
            await call.write(
                discovery_pb2.DeltaDiscoveryRequest(type_url=url, resource_names_subscribe=names)
            )
        for _ in range(4):
            await call.write(answer(await read(call)))
        await until(lambda: wire.fleet.lagging(1) == ())
        for revision in range(2, 12):
            wire.cache.set(world(revision, str(revision).encode()))
            order = []
            for _ in range(4):
                response = await read(call)
                order.append(response.type_url)
                await call.write(answer(response))
            assert order == [CDS, EDS, LDS, RDS]
        call.cancel()


async def test_10_subscriptions_made_while_secrets_change_lose_no_update() -> None:
    count = 50

    def secrets(revision: int) -> Snapshot:
        body = str(revision).encode()
        return Snapshot(revision, [Resource.of(SDS, f"s{i}", body) for i in range(count)])

    async with Wire() as wire:
        wire.cache.set(secrets(1))
        call = wire.stub.DeltaAggregatedResources()
        await call.write(first(type_url=SDS, resource_names_subscribe=["s0"]))

        one_at_a_time = asyncio.Lock()

        async def subscribe() -> None:
            for number in range(1, count):
                async with one_at_a_time:
                    await call.write(
                        discovery_pb2.DeltaDiscoveryRequest(
                            type_url=SDS, resource_names_subscribe=[f"s{number}"]
                        )
                    )
                wire.cache.set(secrets(number + 1))
                await asyncio.sleep(0)

        has: dict[str, bytes] = {}
        final = secrets(count).of_type(SDS)

        async def apply() -> None:
            while has != {name: one.body for name, one in final.items()}:
                response = await read(call)
                has.update({one.name: one.resource.value for one in response.resources})
                async with one_at_a_time:
                    await call.write(answer(response))

        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(subscribe())
            group.create_task(apply())
        await until(lambda: wire.fleet.lagging(count) == ())
        call.cancel()


class Pipe:
    """A TCP proxy that can fall silent, as a NAT does that has forgotten a connection."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._flows = asyncio.Event()
        self._flows.set()
        self.port = 0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Pipe]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    def fall_silent(self) -> None:
        self._flows.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            await asyncio.gather(self._copy(reader, forth), self._copy(back, writer))
        finally:
            writer.close()
            forth.close()

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                await self._flows.wait()
                target.write(data)
                await target.drain()
        target.close()


async def test_14_a_half_open_connection_is_found_by_pings() -> None:
    options = grpc_options(keepalive_s=0.5, keepalive_timeout_s=0.5)
    async with Wire(options=options) as wire, Pipe(wire.port).open() as pipe:
        wire.cache.set(clusters(1, "a"))
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{pipe.port}")
        call = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel).DeltaAggregatedResources()
        await call.write(first())
        await read(call)
        assert wire.fleet.nodes()[0].connected
        pipe.fall_silent()
        await until(lambda: not wire.fleet.nodes()[0].connected, wait_s=60)
        await channel.close()


async def test_14_an_old_connection_is_ended_so_that_fleets_spread_again() -> None:
    options = grpc_options(connection_age_s=0.3, connection_grace_s=0.3)
    async with Wire(options=options) as wire:
        wire.cache.set(clusters(1, "a"))
        call = wire.stub.DeltaAggregatedResources()
        await call.write(first())
        await read(call)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(call)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_15_a_response_over_the_limit_ends_the_stream_and_says_so() -> None:
    async with Wire(Limits(response_bytes=1000)) as wire:
        wire.cache.set(clusters(1, "a", body=b"x" * 2000))
        call = wire.stub.DeltaAggregatedResources()
        await call.write(first())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(call)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "over the limit" in str(caught.value.details())


async def test_15_a_request_over_the_limit_ends_the_stream_and_says_so() -> None:
    async with Wire(options=(("grpc.max_receive_message_length", 10_000),)) as wire:
        call = wire.stub.DeltaAggregatedResources()
        await call.write(first(resource_names_subscribe=["x" * 20_000]))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(call)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_15_too_many_names_end_the_stream_and_say_so() -> None:
    async with Wire(Limits(names_per_request=2)) as wire:
        call = wire.stub.StreamAggregatedResources()
        node = base_pb2.Node(id="n1", cluster="edge")
        await call.write(
            discovery_pb2.DiscoveryRequest(node=node, type_url=RDS, resource_names=["a", "b", "c"])
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(call)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "3 names" in str(caught.value.details())


def test_15_the_publisher_raises_the_alarm_for_what_is_too_large(tmp_path: Path) -> None:
    topology = Topology.open(f"sqlite:///{tmp_path}/t.db")
    topology.cells.create(
        CellSpec("c", "c.example", (Endpoint("10.0.0.1", 1),), state=CellState.ACTIVE), actor="t"
    )
    document = '{"name": "r", "rules": [{"id": "all", "action": "proxy", "on_cell_down": 503}]}'
    topology.rulesets.put("r", document, actor="t")
    topology.rulesets.activate("r", 1, actor="t")
    published: list[int] = []
    publisher = Publisher(
        topology,
        SnapshotCache(max_response_bytes=100),
        TrafficPolicy(),
        poll_interval_s=1,
        on_published=lambda revision, _: published.append(revision),
    )
    publisher.publish()
    assert published == []
    assert "a response holds 100" in str(publisher.alarm)
    topology.close()
