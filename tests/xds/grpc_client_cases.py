"""What each gRPC client with xDS (``xds:///``) must be able to do against our server.

`tests/xds/test_grpc_client.py` runs them with grpcio's client, and ``make interop`` with grpc-go's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from control_plane.names import CDS, EDS, LDS, RDS
from tests.xds.grpc_world import (
    CLUSTER,
    NODE,
    Backend,
    Caller,
    cluster,
    endpoints,
    listener,
    routes,
    snapshot,
)
from tests.xds.server.wire import Wire, until

CURRENT_S = 8.0
"""How long a client may take to be current: far less than any time-out of the server's."""


async def it_follows_every_change_and_is_waited_for(wire: Wire, caller: Caller) -> None:
    async with Backend("one") as one, Backend("two") as two:
        wire.cache.set(snapshot(1, listener(), routes(), cluster(), endpoints(one.port)))
        assert await caller.call() == "one"
        assert await wire.fleet.wait(1, CURRENT_S) == ()
        (node,) = wire.fleet.nodes()
        assert (node.id, node.state) == (NODE, "SYNCED")
        assert {status.type_url for status in node.types} == {CDS, EDS, LDS, RDS}

        wire.cache.set(snapshot(2, listener(), routes(), cluster(), endpoints(two.port)))
        assert await wire.fleet.wait(2, CURRENT_S) == ()
        await caller.comes_from("two")

        other = "other-cluster"
        added = (cluster(other), endpoints(one.port, name=other))
        moved = snapshot(3, listener(), routes(other), cluster(), endpoints(two.port), *added)
        wire.cache.set(moved)
        assert await wire.fleet.wait(3, CURRENT_S) == ()
        await caller.comes_from("one")

        wire.cache.set(snapshot(4, listener(), routes(other), *added))
        assert await wire.fleet.wait(4, CURRENT_S) == ()
        assert await caller.call() == "one"
        held = {(one.type_url, one.name) for one in wire.fleet.resources(NODE) if one.version}
        assert (CDS, CLUSTER) not in held


async def a_removal_is_seen(wire: Wire, caller: Caller) -> None:
    async with Backend("one") as one:
        parts = (listener(), routes(), cluster(), endpoints(one.port))
        wire.cache.set(snapshot(1, *parts))
        assert await caller.call() == "one"
        wire.cache.set(snapshot(2), force=True)
        assert await wire.fleet.wait(2, CURRENT_S) == ()
        async with asyncio.timeout(15):
            while (said := await caller.call(wait=False)) == "one":
                pass
        assert said == "UNAVAILABLE"
        wire.cache.set(snapshot(3, *parts))
        await caller.comes_from("one")
        assert await wire.fleet.wait(3, CURRENT_S) == ()


async def what_it_asks_for_may_come_later(wire: Wire, caller: Caller) -> None:
    async with Backend("one") as one:
        wire.cache.set(snapshot(1))
        calling = asyncio.create_task(caller.call())
        await until(lambda: bool(wire.fleet.nodes()))
        assert await wire.fleet.wait(1, CURRENT_S) == ()
        wire.cache.set(snapshot(2, listener(), routes(), cluster(), endpoints(one.port)))
        assert await calling == "one"
        assert await wire.fleet.wait(2, CURRENT_S) == ()


async def a_refused_change_is_told_and_a_good_one_heals(wire: Wire, caller: Caller) -> None:
    async with Backend("one") as one, Backend("two") as two:
        parts = (listener(), routes(), cluster())
        wire.cache.set(snapshot(1, *parts, endpoints(one.port)))
        assert await caller.call() == "one"
        # The same address twice: gRPC refuses it.
        wire.cache.set(snapshot(2, *parts, endpoints(two.port, two.port)))
        await until(lambda: wire.fleet.nodes()[0].state == "NACKED")
        assert await wire.fleet.wait(2, 0.05) == (NODE,)
        assert await caller.call() == "one"
        wire.cache.set(snapshot(3, *parts, endpoints(two.port)))
        assert await wire.fleet.wait(3, CURRENT_S) == ()
        await caller.comes_from("two")


async def what_was_good_in_a_refused_change_is_not_forgotten(wire: Wire, caller: Caller) -> None:
    """gRPC takes the good resources of a response and refuses the others."""
    async with Backend("one") as one, Backend("two") as two, Backend("new") as new:
        parts = (listener(), routes("a", "b"), cluster("a"), cluster("b"))
        eds = (endpoints(one.port, name="a"), endpoints(two.port, name="b"))
        wire.cache.set(snapshot(1, *parts, *eds))
        await caller.come_from({"one", "two"})
        bad = endpoints(two.port, two.port, name="b")
        wire.cache.set(snapshot(2, *parts, endpoints(new.port, name="a"), bad))
        await until(lambda: wire.fleet.nodes()[0].state == "NACKED")
        await caller.come_from({"new", "two"})
        wire.cache.set(snapshot(3, *parts, *eds))
        assert await wire.fleet.wait(3, CURRENT_S) == ()
        await caller.come_from({"one", "two"})


type Case = Callable[[Wire, Caller], Awaitable[None]]

CASES: tuple[Case, ...] = (
    it_follows_every_change_and_is_waited_for,
    a_removal_is_seen,
    what_it_asks_for_may_come_later,
    a_refused_change_is_told_and_a_good_one_heals,
    what_was_good_in_a_refused_change_is_not_forgotten,
)
"""Each takes a server without resources and a client of it."""
