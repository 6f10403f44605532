"""What the xDS protocol says of streams: nonces, ends, several of one node, and odd requests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import grpc
import pytest
from envoy.config.core.v3 import base_pb2

from control_plane.names import CDS, EDS, LDS, RDS, RTDS
from control_plane.xds.server.revision_probe import RevisionUnknown
from control_plane.xds.server.server import Limits
from control_plane.xds.session.ledger import MAX_UNSERVED
from tests.xds.server.wire import Wire, until
from tests.xds.server.xds_client import VARIANTS, WAIT_S, Variant, XdsClient, publish, tags

UNSERVED = "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration"
"""A stream that names so many types that are not served is ended."""
AGGREGATED = tuple(variant for variant in VARIANTS if variant.aggregated)
SINGLE = tuple(variant for variant in VARIANTS if not variant.aggregated)
DELTA = tuple(variant for variant in VARIANTS if variant.delta)
SOTW = tuple(variant for variant in VARIANTS if not variant.delta)


def each(variants: tuple[Variant, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("variant", variants, ids=str)


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with Wire(force_shrink=True) as made:
        yield made


@pytest.fixture
async def client(wire: Wire, variant: Variant) -> AsyncIterator[XdsClient]:
    async with XdsClient(wire, variant) as made:
        yield made


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
    async with Wire(limits, newest=newest) as wire, XdsClient(wire, variant) as client:
        publish(wire, 1, (CDS, tags("a")))
        await client.subscribe(CDS)
        await client.finish(CDS)
        assert (await client.next(CDS)).resources == tags("a")
        assert await client.status(CDS) is grpc.StatusCode.OK


@each(VARIANTS)
async def test_a_client_that_closes_its_side_after_its_ack_is_ended_well(
    wire: Wire, client: XdsClient
) -> None:
    publish(wire, 1, (CDS, tags("a")))
    await client.subscribe(CDS)
    await client.take(CDS)
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
async def test_an_answer_with_an_unknown_nonce_changes_nothing(
    wire: Wire, client: XdsClient
) -> None:
    publish(wire, 1, (CDS, tags("a")))
    await client.subscribe(CDS)
    answer = await client.next(CDS)
    await client.send(
        CDS, response_nonce="never-sent", error_detail={"code": 13, "message": "no good"}
    )
    await client.silent(CDS)
    (node,) = wire.fleet.nodes()
    assert node.state != "NACKED"
    assert await wire.fleet.wait(1, 0.01) == ("n1",)
    await client.ack(answer)
    assert await wire.fleet.wait(1, WAIT_S) == ()


@each(VARIANTS)
async def test_the_answer_to_a_former_response_does_not_count_for_the_latest(
    wire: Wire, client: XdsClient
) -> None:
    publish(wire, 1, (CDS, tags("a")))
    await client.subscribe(CDS)
    first = await client.take(CDS)
    publish(wire, 2, (CDS, tags("a", "2")))
    second = await client.next(CDS)
    if client.variant.delta:
        await client.send(CDS, response_nonce=first.nonce)
    else:
        await client.send(CDS, response_nonce=first.nonce, version_info=first.version)
    await client.silent(CDS)
    assert await wire.fleet.wait(2, 0.01) == ("n1",)
    await client.ack(second)
    assert await wire.fleet.wait(2, WAIT_S) == ()


@each(DELTA)
async def test_delta_subscriptions_count_whatever_the_nonce(wire: Wire, client: XdsClient) -> None:
    publish(wire, 1, (EDS, tags("ab")))
    await client.subscribe(EDS, "a")
    await client.take(EDS)
    await client.send(EDS, response_nonce="stale", resource_names_subscribe=["b"])
    assert (await client.take(EDS)).resources == {"b": "1"}


@each(SOTW)
async def test_names_with_a_former_nonce_are_ignored(wire: Wire, client: XdsClient) -> None:
    """The client has not seen the response under way, and says its names again with that one's."""
    publish(wire, 1, (EDS, tags("ab")))
    await client.subscribe(EDS, "a")
    first = await client.take(EDS)
    publish(wire, 2, (EDS, tags("ab", "2")))
    second = await client.next(EDS)
    await client.send(EDS, response_nonce=first.nonce, resource_names=["a", "b"])
    await client.silent(EDS)
    await client.ack(second)
    await client.subscribe(EDS, "b")
    await client.settle(EDS)
    assert client.holds(EDS) == tags("ab", "2")


@each(SOTW)
async def test_more_names_in_the_ack_itself(wire: Wire, client: XdsClient) -> None:
    publish(wire, 1, (EDS, tags("ab")))
    await client.subscribe(EDS, "a")
    first = await client.next(EDS)
    await client.send(
        EDS, response_nonce=first.nonce, version_info=first.version, resource_names=["a", "b"]
    )
    assert (await client.next(EDS)).resources["b"] == "1"


@each(DELTA)
async def test_what_a_delta_client_has_already_is_not_sent_again(
    wire: Wire, client: XdsClient
) -> None:
    publish(wire, 1, (CDS, tags("abc")))
    await client.subscribe(CDS)
    answer = await client.next(CDS)
    assert answer.resources == tags("abc")
    versions = {name: one.version for name, one in wire.cache.get("edge").of_type(CDS).items()}
    await client.leave(CDS)
    publish(wire, 2, (CDS, {"a": "1", "b": "2"}))
    await client.send(CDS, initial_resource_versions=versions)
    answers = await client.settle(CDS)
    assert [one.resources for one in answers if one.resources] == [{"b": "2"}]
    assert [name for one in answers for name in one.removed] == ["c"]
    assert await wire.fleet.wait(2, WAIT_S) == ()


@each(DELTA)
async def test_what_a_delta_client_has_and_what_is_no_more_is_told(
    wire: Wire, client: XdsClient
) -> None:
    publish(wire, 1, (EDS, tags("a")))
    held = {"a": "another", "gone": "1"}
    await client.send(
        EDS, initial_resource_versions=held, resource_names_subscribe=["a", "gone", "never"]
    )
    await client.settle(EDS)
    assert (client.holds(EDS), client.missing(EDS)) == (tags("a"), {"gone", "never"})
    assert await wire.fleet.wait(1, WAIT_S) == ()


@each(tuple(variant for variant in DELTA if variant.aggregated))
async def test_one_that_comes_back_is_not_current_before_it_has_asked_for_all_it_runs(
    wire: Wire, client: XdsClient
) -> None:
    """It still runs routes that it has not told of, and that name the cluster which is to go."""
    publish(wire, 1, (CDS, tags("ab")), (RDS, tags("r")))
    await client.subscribe(CDS)
    await client.take(CDS)
    await client.subscribe(RDS, "r")
    await client.take(RDS)
    held = {
        url: {name: one.version for name, one in wire.cache.get("edge").of_type(url).items()}
        for url in (CDS, RDS)
    }
    await client.leave(CDS, RDS)
    await until(lambda: not wire.fleet.nodes()[0].connected)
    publish(wire, 2, (CDS, tags("a")), (RDS, tags("r", "2")))
    await client.send(CDS, initial_resource_versions=held[CDS])
    await client.silent(CDS)
    assert await wire.fleet.wait(2, 0.01) == ("n1",)
    await client.send(RDS, initial_resource_versions=held[RDS], resource_names_subscribe=["r"])
    routes = await client.next(RDS)
    assert routes.resources == tags("r", "2")
    await client.silent(CDS)
    await client.ack(routes)
    assert (await client.take(CDS)).removed == ("b",)
    assert await wire.fleet.wait(2, WAIT_S) == ()


@each(SOTW)
async def test_a_sotw_client_comes_back_with_a_version(wire: Wire, client: XdsClient) -> None:
    """A nonce of a former stream means nothing on a new one."""
    publish(wire, 1, (CDS, tags("ab")))
    await client.subscribe(CDS)
    before = await client.take(CDS)
    await client.leave(CDS)
    publish(wire, 2, (CDS, tags("abc")))
    await client.send(CDS, version_info=before.version, response_nonce=before.nonce)
    assert (await client.take(CDS)).resources == tags("abc")
    assert await wire.fleet.wait(2, WAIT_S) == ()


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


@each(DELTA)
async def test_giving_up_what_was_never_asked_for_is_harmless(
    wire: Wire, client: XdsClient
) -> None:
    publish(wire, 1, (EDS, tags("ab")))
    await client.subscribe(EDS, "a")
    await client.take(EDS)
    await client.send(EDS, resource_names_unsubscribe=["b", "never"])
    await client.silent(EDS)
    publish(wire, 2, (EDS, tags("ab", "2")))
    assert (await client.take(EDS)).resources == {"a": "2"}


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
    answer = await client.take(CDS)
    assert client.holds(CDS) == tags("a"), answer
    assert await wire.fleet.wait(2, WAIT_S) == ()


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
