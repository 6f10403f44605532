"""A node is sent nothing that may be older than what another replica has sent it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2

from control_plane.compiler.model import TrafficPolicy
from control_plane.names import CDS
from control_plane.publisher.publisher import Publisher
from control_plane.topology import Topology
from control_plane.topology.values.cell import CellSpec, CellState
from control_plane.topology.values.endpoint import Endpoint
from control_plane.xds.server.limits import Limits
from control_plane.xds.server.revision_probe import RevisionUnknown
from tests.xds.server.wire import Wire, clusters, first, read, until

QUIET_S = 0.3


RULESET = '{"name": "r", "rules": [{"id": "all", "action": "proxy", "on_cell_down": 503}]}'


class Replica(Wire):
    """A control plane of its own on a database that others use too."""

    def __init__(self, url: str, limits: Limits | None = None) -> None:
        self.topology = Topology.open(url)
        super().__init__(limits, newest_revision=self.topology.revision)
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
        assert quick.cache.newest.revision > slow.cache.newest.revision
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
        assert newer == {"cell:c": slow.cache.newest.of_type(CDS)["cell:c"].version}
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
        old = slow.cache.newest.of_type(CDS)["cell:c"].version
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

    async with Wire(Limits(confirm_timeout_s=QUIET_S), newest_revision=newest) as wire:
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
