"""What the xDS protocol says of answers: which response they are to, and what a client says it has."""

from __future__ import annotations

from control_plane.names import CDS, EDS, RDS
from tests.xds.server.conformance.marks import DELTA, SOTW, each
from tests.xds.server.conformance.variants import VARIANTS
from tests.xds.server.conformance.world import publish, tags
from tests.xds.server.conformance.xds_client import WAIT_S, XdsClient
from tests.xds.server.wire import Wire, until


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
    await client.begin(EDS, tags("ab"), "a")
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
    versions = {name: one.version for name, one in wire.cache.newest.of_type(CDS).items()}
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
    await client.begin(CDS, tags("ab")), (RDS, tags("r"))
    await client.subscribe(RDS, "r")
    await client.take(RDS)
    held = {
        url: {name: one.version for name, one in wire.cache.newest.of_type(url).items()}
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


@each(DELTA)
async def test_giving_up_what_was_never_asked_for_is_harmless(
    wire: Wire, client: XdsClient
) -> None:
    await client.begin(EDS, tags("ab"), "a")
    await client.send(EDS, resource_names_unsubscribe=["b", "never"])
    await client.silent(EDS)
    publish(wire, 2, (EDS, tags("ab", "2")))
    assert (await client.take(EDS)).resources == {"a": "2"}
