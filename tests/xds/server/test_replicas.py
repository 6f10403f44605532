"""Late and lost things: an old replica, an empty one, and a node that refuses."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2

from control_plane.compiler.model import TrafficPolicy
from control_plane.names import CDS
from control_plane.publisher.publisher import Publisher
from control_plane.topology import Topology
from control_plane.topology.values.cell import CellSpec, CellState
from control_plane.topology.values.endpoint import Endpoint
from control_plane.xds.resource import Resource
from control_plane.xds.server.revision_probe import Newest, RevisionUnknown
from control_plane.xds.server.server import Limits
from control_plane.xds.snapshot import Snapshot
from tests.xds.server.wire import Wire, answer, clusters, first, read, until

QUIET_S = 0.3
RULESET = '{"name": "r", "rules": [{"id": "all", "action": "proxy", "on_cell_down": 503}]}'


class Replica(Wire):
    """A control plane of its own on a database that others use too."""

    def __init__(self, url: str, limits: Limits | None = None) -> None:
        self.topology = Topology.open(url)
        super().__init__(limits, newest=self.topology.revision)
        self.publisher = Publisher(
            self.topology,
            self.cache,
            TrafficPolicy(),
            poll_interval_s=1,
            on_published=lambda _, __: None,
        )

    async def __aexit__(self, *exc: object) -> None:
        await super().__aexit__(*exc)
        self.topology.close()


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    made = f"sqlite:///{tmp_path}/shared.db"
    topology = Topology.open(made)
    topology.cells.create(spec(1), actor="t")
    topology.rulesets.put("r", RULESET, actor="t")
    topology.rulesets.activate("r", 1, actor="t")
    yield made
    topology.close()


def spec(port: int) -> CellSpec:
    return CellSpec("c", "c.example", (Endpoint("10.0.0.1", port),), state=CellState.ACTIVE)


async def silent(call: Any) -> bool:
    """Whether nothing comes for a while. The call can't be read afterwards."""
    try:
        async with asyncio.timeout(QUIET_S):
            await call.read()
    except TimeoutError:
        return True
    return False


async def the_cluster(wire: Wire, node: str, has: dict[str, str] | None = None) -> Any:
    call = wire.stub.DeltaAggregatedResources()
    versions = has or {}
    await call.write(
        first(node, CDS, resource_names_subscribe=["cell:c"], initial_resource_versions=versions)
    )
    return call


def versions_of(response: Any) -> dict[str, str]:
    return {one.name: one.version for one in response.resources}


async def test_an_older_replica_is_silent_until_it_has_caught_up(url: str) -> None:
    async with Replica(url) as quick, Replica(url) as slow:
        slow.publisher.publish()
        quick.topology.cells.replace("c", spec(2), actor="t")
        quick.publisher.publish()
        assert quick.cache.get("").revision > slow.cache.get("").revision
        call = await the_cluster(quick, "n1")
        has = versions_of(await read(call))
        call.cancel()

        moved = await the_cluster(slow, "n1", has)
        await until(lambda: slow.fleet.nodes())
        waiting = asyncio.create_task(moved.read())
        await asyncio.sleep(QUIET_S)
        assert slow.xds.sent_resource_bytes == 0
        slow.publisher.publish()
        await asyncio.sleep(QUIET_S)
        # It has caught up with what the node has: there is nothing to say.
        assert slow.xds.sent_resource_bytes == 0
        slow.topology.cells.replace("c", spec(3), actor="t")
        slow.publisher.publish()
        newer = versions_of(await waiting)
        assert newer == {"cell:c": slow.cache.get("").of_type(CDS)["cell:c"].version}
        assert newer != has
        moved.cancel()


async def test_state_of_the_world_waits_as_well(url: str) -> None:
    async with Replica(url) as quick, Replica(url) as slow:
        slow.publisher.publish()
        quick.topology.cells.create(
            CellSpec("d", "d.example", (Endpoint("10.0.0.2", 1),), state=CellState.ACTIVE),
            actor="t",
        )
        quick.publisher.publish()
        node = base_pb2.Node(id="n1", cluster="edge")
        call = quick.stub.StreamAggregatedResources()
        await call.write(discovery_pb2.DiscoveryRequest(node=node, type_url=CDS))
        version = (await read(call)).version_info
        call.cancel()
        moved = slow.stub.StreamAggregatedResources()
        await moved.write(
            discovery_pb2.DiscoveryRequest(node=node, type_url=CDS, version_info=version)
        )
        assert await silent(moved)
        assert slow.xds.sent_resource_bytes == 0


async def test_a_node_that_has_nothing_waits_a_while_only(url: str) -> None:
    async with Replica(url, Limits(confirm_timeout_s=QUIET_S)) as slow:
        slow.publisher.publish()
        old = slow.cache.get("").of_type(CDS)["cell:c"].version
        slow.topology.cells.replace("c", spec(2), actor="t")
        call = await the_cluster(slow, "fresh")
        assert versions_of(await read(call)) == {"cell:c": old}
        returning = await the_cluster(slow, "returning", {"cell:c": "another"})
        assert await silent(returning)
        call.cancel()


async def test_a_dead_database_holds_back_nobody_who_has_nothing_and_all_others() -> None:
    dead = threading.Event()
    dead.set()

    def newest() -> int:
        if dead.is_set():
            raise RevisionUnknown("no database")
        return 1

    async with Wire(Limits(confirm_timeout_s=QUIET_S), newest=newest) as wire:
        wire.cache.set(clusters(1, "a", body=b"\x0a\x01a"))
        fresh = wire.stub.DeltaAggregatedResources()
        await fresh.write(first("fresh"))
        assert len((await read(fresh)).resources) == 1
        returning = wire.stub.DeltaAggregatedResources()
        await returning.write(first("returning", initial_resource_versions={"a": "another"}))
        waiting = asyncio.create_task(returning.read())
        await asyncio.sleep(2 * QUIET_S)
        assert not waiting.done()
        dead.clear()
        assert len((await asyncio.wait_for(waiting, 10)).resources) == 1
        fresh.cancel()
        returning.cancel()


async def test_a_thousand_questions_at_once_are_few_reads_and_none_is_older_than_its_question() -> (
    None
):
    reads = 0
    committed = 0

    def read_it() -> int:
        nonlocal reads
        reads += 1
        return committed

    newest = Newest(read_it)
    early = [asyncio.create_task(newest.revision()) for _ in range(500)]
    await asyncio.sleep(0)
    committed = 1
    late = [asyncio.create_task(newest.revision()) for _ in range(500)]
    assert set(await asyncio.gather(*late)) == {1}
    assert set(await asyncio.gather(*early)) <= {0, 1}
    assert reads <= 2


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


async def test_waiting_for_the_fleet_goes_on_if_a_node_comes_meanwhile() -> None:
    async with Wire() as wire:
        wire.cache.set(clusters(1, "a"))
        early = wire.stub.DeltaAggregatedResources()
        await early.write(first("early"))
        response = await read(early)
        waiting = asyncio.create_task(wire.fleet.wait(1, 10))
        await asyncio.sleep(0)
        late = wire.stub.DeltaAggregatedResources()
        await late.write(first("late"))
        answered = await read(late)
        await early.write(answer(response))
        await until(lambda: wire.fleet.lagging(1) == ("late",))
        assert not waiting.done()
        await late.write(answer(answered))
        assert await waiting == ()
        early.cancel()
        late.cancel()
