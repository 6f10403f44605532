"""When a node is current: with the types that it asks for, over all of its streams."""

from __future__ import annotations

from control_plane.names import CDS, EDS, LDS, RDS, RTDS
from tests.xds.server.conformance.marks import AGGREGATED, SINGLE, each
from tests.xds.server.conformance.variants import VARIANTS, Variant
from tests.xds.server.conformance.world import publish, tags
from tests.xds.server.conformance.xds_client import WAIT_S, XdsClient
from tests.xds.server.wire import Wire


@each(VARIANTS)
async def test_a_node_that_asks_for_some_types_is_current_when_it_has_those(
    wire: Wire, client: XdsClient
) -> None:
    """A gRPC client asks for names of four types; Envoy may have each type on a stream of its own."""
    publish(wire, 1, *((url, tags("a")) for url in (CDS, EDS, LDS, RDS, RTDS)))
    for url in (LDS, RDS):
        await client.subscribe(url, "a")
        await client.take(url)
    assert await wire.fleet.wait(1, WAIT_S) == ()
    publish(wire, 2, (CDS, tags("a", "2")), (LDS, tags("a")), (RDS, tags("a", "2")))
    assert (await client.next(RDS)).resources == tags("a", "2")
    assert await wire.fleet.wait(2, 0.01) == ("n1",)


@each(VARIANTS)
async def test_removals_do_not_wait_for_types_that_are_never_asked_for(
    wire: Wire, client: XdsClient
) -> None:
    others = tuple((url, tags("a")) for url in (EDS, LDS, RDS, RTDS))
    publish(wire, 1, (CDS, tags("ab")), *others)
    await client.subscribe(CDS)
    await client.take(CDS)
    publish(wire, 2, (CDS, tags("a")), *others)
    await client.take(CDS)
    await client.check_current(CDS, tags("a"), 2)


@each(AGGREGATED)
async def test_routes_do_not_wait_for_endpoints_of_clusters_that_are_not_asked_for(
    wire: Wire, client: XdsClient
) -> None:
    """A public harness answers every response as if it were of the type that it asked for first."""
    publish(wire, 1, (RDS, tags("r")), (EDS, tags("e")))
    await client.subscribe(RDS, "r")
    await client.take(RDS)
    await client.subscribe(EDS, "e")
    stray = await client.next(EDS)
    if client.variant.delta:
        await client.send(RDS, response_nonce=stray.nonce)
    else:
        await client.send(RDS, response_nonce=stray.nonce, resource_names=["r"])
    publish(wire, 2, (RDS, tags("r", "2")), (EDS, tags("e")))
    assert (await client.next(RDS)).resources == tags("r", "2")


@each(SINGLE)
async def test_a_node_is_current_when_each_of_its_streams_is(wire: Wire, client: XdsClient) -> None:
    publish(wire, 1, (CDS, tags("a")), (LDS, tags("l")))
    await client.subscribe(CDS)
    await client.subscribe(LDS)
    await client.take(CDS)
    listeners = await client.next(LDS)
    await client.silent(CDS, LDS)
    assert await wire.fleet.wait(1, 0.01) == ("n1",)
    await client.ack(listeners)
    assert await wire.fleet.wait(1, WAIT_S) == ()
    (node,) = wire.fleet.nodes()
    assert (node.state, node.acked_revision) == ("SYNCED", 1)
    assert {status.type_url for status in node.types} == {CDS, LDS}
    publish(wire, 2, (CDS, tags("a")), (LDS, tags("l", "2")))
    await client.take(LDS)
    assert await wire.fleet.wait(2, WAIT_S) == ()
    await client.leave(LDS)
    publish(wire, 3, (CDS, tags("a", "3")), (LDS, tags("l", "3")))
    await client.take(CDS)
    assert await wire.fleet.wait(3, WAIT_S) == ()


@each(AGGREGATED)
async def test_a_node_may_have_several_aggregated_streams(
    wire: Wire, client: XdsClient, variant: Variant
) -> None:
    publish(wire, 1, (CDS, tags("a")), (LDS, tags("l")))
    async with XdsClient(wire, variant) as other:
        await client.subscribe(CDS)
        await other.subscribe(LDS)
        await client.take(CDS)
        listeners = await other.next(LDS)
        await other.silent(LDS)
        assert await wire.fleet.wait(1, 0.01) == ("n1",)
        await other.ack(listeners)
        assert await wire.fleet.wait(1, WAIT_S) == ()
        publish(wire, 2, (CDS, tags("b")), (LDS, tags("l")))
        await client.settle(CDS)
        assert client.holds(CDS) == tags("b")
        assert await wire.fleet.wait(2, WAIT_S) == ()
        assert len(wire.fleet.nodes()) == 1


@each(VARIANTS)
async def test_two_nodes_do_not_share_subscriptions(
    wire: Wire, client: XdsClient, variant: Variant
) -> None:
    publish(wire, 1, (EDS, tags("ab")))
    async with XdsClient(wire, variant, node="n2") as other:
        await client.subscribe(EDS, "a")
        await other.subscribe(EDS, "b")
        assert (await client.take(EDS)).resources == tags("a")
        assert (await other.take(EDS)).resources == tags("b")
        assert await wire.fleet.wait(1, WAIT_S) == ()
        publish(wire, 2, (EDS, {"a": "1", "b": "2"}))
        assert (await other.take(EDS)).resources == {"b": "2"}
        await client.silent(EDS)
        assert await wire.fleet.wait(2, WAIT_S) == ()
