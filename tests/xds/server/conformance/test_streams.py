"""What the xDS protocol says of streams: how they begin and end, and odd requests on them."""

from __future__ import annotations

import asyncio
import contextlib

import grpc
import pytest
from envoy.config.core.v3 import base_pb2

from control_plane.names import CDS, EDS
from control_plane.xds.server.limits import Limits
from control_plane.xds.server.revision_probe import RevisionUnknown
from control_plane.xds.session.ledger import MAX_UNSERVED
from tests.xds.server.conformance.marks import AGGREGATED, each
from tests.xds.server.conformance.variants import VARIANTS, Variant
from tests.xds.server.conformance.world import publish, tags
from tests.xds.server.conformance.xds_client import WAIT_S, XdsClient
from tests.xds.server.wire import Wire, until

UNSERVED = "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration"
"""A stream that names so many types that are not served is ended."""


@each(VARIANTS)
@pytest.mark.parametrize("url", [CDS, EDS], ids=["Cluster", "ClusterLoadAssignment"])
async def test_a_client_that_closes_its_side_at_once_still_gets_its_answer(
    wire: Wire, client: XdsClient, url: str
) -> None:
    # More than fits into one go, so that the server still writes when the client has finished.
    large = {"a": "x" * 500_000}
    publish(wire, 1, (url, large))
    await client.subscribe(url, "a")
    await client.finish(url)
    assert (await client.next(url)).resources == large
    assert await client.status(url) is grpc.StatusCode.OK
    await until(lambda: not wire.fleet.nodes()[0].connected)
    assert wire.xds.streams == 0


@each(VARIANTS)
@pytest.mark.parametrize("known", [True, False], ids=["confirmed", "not confirmed in time"])
async def test_a_client_that_closes_its_side_while_it_is_held_back_still_gets_its_answer(
    variant: Variant, *, known: bool
) -> None:
    def newest() -> int:
        if known:
            return 1
        raise RevisionUnknown("the database is away")

    limits = Limits(confirm_timeout_s=0.2)
    async with Wire(limits, newest_revision=newest) as wire, XdsClient(wire, variant) as client:
        publish(wire, 1, (CDS, tags("a")))
        await client.subscribe(CDS)
        await client.finish(CDS)
        assert (await client.next(CDS)).resources == tags("a")
        assert await client.status(CDS) is grpc.StatusCode.OK


@each(VARIANTS)
async def test_a_client_that_closes_its_side_after_its_ack_is_ended_well(
    wire: Wire, client: XdsClient
) -> None:
    await client.begin(CDS, tags("a"))
    await client.finish(CDS)
    assert await client.status(CDS) is grpc.StatusCode.OK


@each(AGGREGATED)
async def test_a_type_that_is_not_served_goes_unanswered_and_others_are_served(
    wire: Wire, client: XdsClient
) -> None:
    publish(wire, 1, (CDS, tags("a")))
    await client.subscribe(UNSERVED, "s")
    await client.silent(UNSERVED)
    await client.subscribe(CDS)
    assert (await client.take(CDS)).resources == tags("a")
    assert await wire.fleet.wait(1, WAIT_S) == ()
    await client.subscribe(UNSERVED, "t")
    publish(wire, 2, (CDS, tags("a", "2")))
    assert (await client.take(CDS)).resources == tags("a", "2")
    assert await wire.fleet.wait(2, WAIT_S) == ()


@each(AGGREGATED)
async def test_only_so_many_types_that_are_not_served_may_be_named(
    wire: Wire, client: XdsClient
) -> None:
    for number in range(10):
        await client.send(f"{UNSERVED}{number}")
    await client.silent(UNSERVED)
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        for number in range(MAX_UNSERVED + 1):
            await client.send(f"{UNSERVED}{number}")
    # Which of the two finds out first decides the code.
    assert await client.status(UNSERVED) is not grpc.StatusCode.OK
    await until(lambda: wire.xds.streams == 0)


@each(VARIANTS)
async def test_the_node_is_needed_once_and_may_come_each_time(
    wire: Wire, client: XdsClient
) -> None:
    publish(wire, 1, (EDS, tags("ab")))
    node = base_pb2.Node(id="n1", cluster="edge")
    field = "resource_names_subscribe" if client.variant.delta else "resource_names"
    await client.send(EDS, node=node, **{field: ["a"]})
    answer = await client.next(EDS)
    await client.send(EDS, node=node, response_nonce=answer.nonce, **{field: ["b"]})
    assert (await client.next(EDS)).resources["b"] == "1"


@each(VARIANTS)
async def test_resource_locators_are_ignored(wire: Wire, client: XdsClient) -> None:
    publish(wire, 1, (EDS, tags("ab")))
    word = "resource_locators_subscribe" if client.variant.delta else "resource_locators"
    names = "resource_names_subscribe" if client.variant.delta else "resource_names"
    await client.send(EDS, **{names: ["a"], word: [{"name": "b"}]})
    assert (await client.next(EDS)).resources == tags("a")
