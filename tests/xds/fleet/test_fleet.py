"""Which nodes are remembered, and who is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from control_plane.xds.fleet.fleet import SHOWN, Fleet
from control_plane.xds.session.delta import DeltaSession
from tests.xds.server.wire import WAIT_S, Wire, answer, clusters, first, read, until


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with Wire() as made:
        yield made


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


def test_a_connection_tells_a_nodes_id_only_if_it_is_the_nodes_own() -> None:
    fleet = Fleet()
    left = DeltaSession()
    peers = {"a": "ipv4:10.0.0.1:5", "b": "ipv6:[::1]:6", "c": "ipv4:10.0.0.9:7", "e": "unix:"}
    for node_id, peer in peers.items():
        fleet.connected(node_id, "edge", "1.40.0", DeltaSession(), peer=peer)
    fleet.connected("d", "edge", "1.40.0", DeltaSession(), peer="ipv4:10.0.0.9:7")
    fleet.connected("f", "edge", "1.40.0", left, peer="ipv4:10.0.0.2:8")
    fleet.disconnected("f", left)
    assert fleet.nodes_by_peer() == {"ipv4:10.0.0.1:5": "a", "ipv6:[::1]:6": "b"}


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


def test_a_node_that_left_is_missed_for_a_while_unless_it_is_elsewhere() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    fleet = Fleet(clock=lambda: now)

    def shown() -> dict[str, str]:
        return {node.id: node.state for node in fleet.nodes() if not node.connected}

    for name in ("a", "b", "c"):
        session = DeltaSession()
        fleet.connected(name, "edge", "1.40.0", session)
        if name != "c":
            fleet.disconnected(name, session)
    assert shown() == {"a": "DISCONNECTED", "b": "DISCONNECTED"}
    assert fleet.missing() == ("b", "a")
    assert fleet.connected_among(["a", "c", "unheard-of"]) == ("c",)
    fleet.found_elsewhere(["a", "c", "unheard-of"])
    assert shown().keys() == {"b"}
    now += SHOWN
    assert (shown(), fleet.missing()) == ({}, ())
    assert [node.id for node in fleet.nodes()] == ["c"]
    back = DeltaSession()
    fleet.connected("a", "edge", "1.40.0", back)
    fleet.disconnected("a", back)
    assert fleet.missing() == ("a",), "it was here again"
