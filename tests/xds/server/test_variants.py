"""Each node gets the variant that it asks for, and the plain one where it can't run that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from envoy.service.discovery.v3 import discovery_pb2

from control_plane.names import CDS, LDS
from control_plane.xds.fleet.served_variant import MAX_UNANSWERED
from control_plane.xds.resource import Resource
from control_plane.xds.server.limits import Limits
from control_plane.xds.snapshot import Snapshot
from control_plane.xds.variants import NodeFacts
from tests.xds.server.wire import Wire, answer, first, read, until

MODULE = "module"
CANNOT = "failed to load dynamic module"


def choose(node: NodeFacts) -> str:
    wanted: str = node.metadata.fields["variant"].string_value if node.metadata else ""
    return wanted


def plain(revision: int, listener: bytes = b"") -> Snapshot:
    return Snapshot(revision, [Resource.of(CDS, "cell:a", b""), Resource.of(LDS, "edge", listener)])


# Distinct bytes that are valid messages: a listener's name.
THEIRS = b"\n\x06module"
NEWER = b"\n\x05newer"


def variant(snapshot: Snapshot, body: bytes = THEIRS) -> Snapshot:
    return snapshot.altered(snapshot.revision, [Resource.of(LDS, "edge", body)], ())


class Node:
    """A node that speaks delta ADS."""

    def __init__(self, wire: Wire, call: Any) -> None:
        self.wire, self.call = wire, call

    async def get(self) -> tuple[str, bytes]:
        """Read a response with one resource, acknowledge it, and return its name and body."""
        response = await self.read()
        await self.call.write(answer(response))
        (one,) = response.resources
        return one.name, one.resource.value

    async def read(self) -> Any:
        response = await read(self.call)
        assert response is not None
        return response

    async def boot(self) -> None:
        """Take the clusters, and ask for listeners."""
        await self.get()
        await self.call.write(discovery_pb2.DeltaDiscoveryRequest(type_url=LDS))


@asynccontextmanager
async def node_of(
    wire: Wire, asks: str = "", name: str = "n1", **fields: Any
) -> AsyncIterator[Node]:
    request = first(name, **fields)
    if asks:
        request.node.metadata.update({"variant": asks})
    call = wire.stub.DeltaAggregatedResources()
    await call.write(request)
    try:
        yield Node(wire, call)
    finally:
        call.cancel()


def wire_of(**limits: Any) -> Wire:
    wire = Wire(Limits(**limits), choose_variant=choose)
    wire.cache.make_with(lambda: None)
    return wire


async def listener_of(node: Node) -> bytes:
    await node.boot()
    return (await node.get())[1]


async def test_each_node_gets_the_variant_that_it_asks_for() -> None:
    async with wire_of() as wire:
        wire.cache.set(plain(1), {MODULE: variant(plain(1))})
        async with node_of(wire) as one, node_of(wire, MODULE, "n2") as other:
            assert await listener_of(one) == b""
            assert await listener_of(other) == THEIRS
            assert await wire.fleet.wait(1, 5) == ()
            assert {node.id: node.variant for node in wire.fleet.nodes()} == {
                "n1": "",
                "n2": MODULE,
            }


async def test_a_variant_that_nobody_wants_is_not_made() -> None:
    wanted: list[frozenset[str]] = []
    async with wire_of() as wire:
        wire.cache.make_with(lambda: wanted.append(wire.cache.wanted))
        wire.cache.set(plain(1))
        async with node_of(wire) as one:
            await listener_of(one)
            assert wanted == []
            async with node_of(wire, MODULE, "n2") as two, node_of(wire, MODULE, "n3") as three:
                await until(lambda: wire.fleet.connected_nodes == 3)
                assert wanted == [frozenset({MODULE})]
                wire.cache.set(plain(1), {MODULE: variant(plain(1))})
                assert await listener_of(two) == await listener_of(three) == THEIRS


async def test_a_node_waits_for_its_variant_and_gets_nothing_before() -> None:
    async with wire_of() as wire:
        wire.cache.set(plain(1))
        async with node_of(wire, MODULE) as node:
            await until(lambda: wire.fleet.connected_nodes == 1)
            reading = asyncio.create_task(node.read())
            assert await asyncio.wait({reading}, timeout=0.1) == (set(), {reading})
            wire.cache.set(plain(1), {MODULE: variant(plain(1))})
            await node.call.write(answer(await reading))
            await node.call.write(discovery_pb2.DeltaDiscoveryRequest(type_url=LDS))
            assert await node.get() == ("edge", THEIRS)


async def test_a_variant_that_does_not_come_is_waited_for_no_longer_than_the_limit(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with wire_of(variant_timeout_s=0.1) as wire:
        wire.cache.set(plain(1))
        async with node_of(wire, MODULE) as node:
            assert await listener_of(node) == b""
            assert "not made in time" in caplog.text
            wire.cache.set(plain(1), {MODULE: variant(plain(1))})
            assert await node.get() == ("edge", THEIRS)


async def test_a_variant_that_came_in_time_is_not_called_late(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with wire_of(variant_timeout_s=0.3) as wire:
        wire.cache.set(plain(1))
        async with node_of(wire, MODULE) as node:
            await until(lambda: wire.fleet.connected_nodes == 1)
            wire.cache.set(plain(1), {MODULE: variant(plain(1))})
            assert await listener_of(node) == THEIRS
            late = asyncio.get_running_loop().time() + 0.3
            await until(lambda: asyncio.get_running_loop().time() > late)
        assert "not made in time" not in caplog.text


async def test_a_variant_that_could_not_be_made_is_not_waited_for() -> None:
    async with wire_of(variant_timeout_s=60) as wire:
        wire.cache.set(plain(1), missing={MODULE})
        async with node_of(wire, MODULE) as node:
            assert await listener_of(node) == b""


async def test_a_node_that_refuses_its_variant_gets_the_plain_one_at_once() -> None:
    async with wire_of() as wire:
        wire.cache.set(plain(1), {MODULE: variant(plain(1))})
        async with node_of(wire, MODULE) as node:
            await node.boot()
            waiting = asyncio.create_task(wire.fleet.wait(1, 5))
            await node.call.write(answer(await node.read(), CANNOT))
            assert await node.get() == ("edge", b"")
            # Nobody who waits hears of a refusal that is over.
            assert await waiting == ()
            (status,) = wire.fleet.nodes()
            assert (status.variant, status.state) == ("", "SYNCED")
            assert status.variant_refused == f"edge: {CANNOT}"
            wire.cache.set(plain(2, NEWER), {MODULE: variant(plain(2, NEWER))})
            assert await node.get() == ("edge", NEWER)


async def test_a_node_that_refuses_what_all_nodes_get_keeps_its_variant() -> None:
    async with wire_of() as wire:
        wire.cache.set(plain(1), {MODULE: variant(plain(1))})
        async with node_of(wire, MODULE) as node:
            await node.call.write(answer(await node.read(), "a bad cluster"))
            await until(lambda: wire.fleet.nodes()[0].state == "NACKED")
            (status,) = wire.fleet.nodes()
            assert (status.variant, status.variant_refused) == (MODULE, "")


async def test_a_node_that_came_back_stays_plain_and_one_that_boots_is_tried_again() -> None:
    async with wire_of() as wire:
        wire.cache.set(plain(1), {MODULE: variant(plain(1))})
        async with node_of(wire, MODULE) as node:
            await node.boot()
            await node.call.write(answer(await node.read(), CANNOT))
            await node.get()
        await until(lambda: not wire.fleet.connected_nodes)
        has = {"cell:a": plain(1).of_type(CDS)["cell:a"].version}
        async with node_of(wire, MODULE, initial_resource_versions=has) as back:
            await back.call.write(discovery_pb2.DeltaDiscoveryRequest(type_url=LDS))
            assert await back.get() == ("edge", b"")
        await until(lambda: not wire.fleet.connected_nodes)
        async with node_of(wire, MODULE) as booted:
            assert await listener_of(booted) == THEIRS
            assert wire.fleet.nodes()[0].variant_refused == ""


async def test_a_node_that_ends_over_its_variant_again_and_again_gets_the_plain_one() -> None:
    async with wire_of() as wire:
        wire.cache.set(plain(1), {MODULE: variant(plain(1))})
        for _ in range(MAX_UNANSWERED):
            async with node_of(wire, MODULE) as node:
                await node.boot()
                await node.read()
            await until(lambda: not wire.fleet.connected_nodes)
        async with node_of(wire, MODULE) as node:
            assert await listener_of(node) == b""
            assert "ended 3 times" in wire.fleet.nodes()[0].variant_refused


async def test_all_streams_of_a_node_fall_back_together() -> None:
    async with wire_of() as wire:
        wire.cache.set(plain(1), {MODULE: variant(plain(1))})
        async with node_of(wire, MODULE) as one, node_of(wire, MODULE) as other:
            await one.boot()
            assert await listener_of(other) == THEIRS
            await one.call.write(answer(await one.read(), CANNOT))
            assert await one.get() == await other.get() == ("edge", b"")


async def test_a_revision_is_run_when_nodes_of_both_variants_run_it() -> None:
    async with wire_of() as wire:
        wire.cache.set(plain(1), {MODULE: variant(plain(1))})
        async with node_of(wire) as one, node_of(wire, MODULE, "n2") as other:
            await listener_of(one)
            await listener_of(other)
            assert await wire.fleet.wait(1, 5) == ()
            # Only what the variant has changes.
            wire.cache.set(plain(2), {MODULE: variant(plain(2), NEWER)})
            wire.fleet.published(2, 0.0)
            response = await other.read()
            assert await wire.fleet.wait(2, 0.05) == ("n2",)
            await other.call.write(answer(response))
            assert await wire.fleet.wait(2, 5) == ()
