"""What the xDS protocol asks of a server about subscriptions by name, in all four variants.

The rules are those of Envoy's xds_protocol document; where it leaves a choice, what the real Envoy
needs in order to go on decides. Wildcards, refusals and streams have files of their own.
"""

from __future__ import annotations

from control_plane.names import CDS, EDS, LDS, RDS, RTDS
from tests.xds.server.conformance.marks import (
    of_bundled_types,
    of_each_type,
    of_each_variant,
    of_solitary_types,
    of_some_types,
    short,
)
from tests.xds.server.conformance.variants import TYPES, WILDCARD_TYPES
from tests.xds.server.conformance.world import publish, tags
from tests.xds.server.conformance.xds_client import WAIT_S, XdsClient
from tests.xds.server.wire import Wire

pytestmark = of_each_variant


@of_bundled_types
async def test_names_asked_for_come_in_one_response_and_others_do_not(
    wire: Wire, client: XdsClient, url: str
) -> None:
    publish(wire, 1, (url, tags("abcd")))
    await client.subscribe(url, "c", "a")
    answer = await client.take(url)
    assert (answer.resources, answer.removed) == (tags("ac"), ())
    assert answer.version
    await client.silent(url)
    assert await wire.fleet.wait(1, WAIT_S) == ()


@of_solitary_types
async def test_filters_and_secrets_come_one_at_a_time(
    wire: Wire, client: XdsClient, url: str
) -> None:
    answers = await client.ask(url, tags("abcd"), "c", "a")
    assert client.holds(url) == tags("ac")
    assert len(answers) == 2
    assert await wire.fleet.wait(1, WAIT_S) == ()


@of_bundled_types
async def test_a_change_is_sent_once_and_only_to_who_asked_for_it(
    wire: Wire, client: XdsClient, url: str
) -> None:
    await client.begin(url, tags("abc"), "a", "b")
    publish(wire, 2, (url, {"a": "1", "b": "2", "c": "1"}))
    answer = await client.take(url)
    assert answer.resources["b"] == "2"
    if client.variant.delta:
        assert answer.resources == {"b": "2"}
    assert client.holds(url) == {"a": "1", "b": "2"}
    publish(wire, 3, (url, {"a": "1", "b": "2", "c": "3"}))
    await client.silent(url)
    assert await wire.fleet.wait(3, WAIT_S) == ()


@of_some_types
async def test_more_names_are_answered_though_nothing_has_changed(
    wire: Wire, client: XdsClient, url: str
) -> None:
    await client.begin(url, tags("abc"), "a")
    await client.subscribe(url, "b")
    answer = await client.take(url)
    assert answer.resources["b"] == "1"
    if client.variant.delta:
        assert answer.resources == {"b": "1"}
    assert client.holds(url) == tags("ab")
    await client.silent(url)


@of_some_types
async def test_a_name_that_was_given_up_and_is_asked_for_again_is_sent_again(
    wire: Wire, client: XdsClient, url: str
) -> None:
    await client.begin(url, tags("ab"), "a", "b")
    await client.unsubscribe(url, "b")
    await client.silent(url)
    publish(wire, 2, (url, {"a": "1", "b": "2"}))
    await client.silent(url)
    assert await wire.fleet.wait(2, WAIT_S) == ()
    publish(wire, 3, (url, tags("ab")))
    await client.subscribe(url, "b")
    assert (await client.take(url)).resources["b"] == "1"
    await client.silent(url)


@of_some_types
async def test_the_last_name_given_up_is_no_wildcard(
    wire: Wire, client: XdsClient, url: str
) -> None:
    await client.begin(url, tags("ab"), "a")
    await client.unsubscribe(url, "a")
    await client.settle(url)
    publish(wire, 2, (url, tags("ab", "2")))
    await client.silent(url)
    assert await wire.fleet.wait(2, WAIT_S) == ()
    await client.subscribe(url, "a")
    assert (await client.take(url)).resources == {"a": "2"}


@of_some_types
async def test_one_name_swapped_for_another_in_one_message(
    wire: Wire, client: XdsClient, url: str
) -> None:
    await client.begin(url, tags("ab"), "a")
    await client.only(url, "b")
    assert (await client.take(url)).resources == {"b": "1"}
    publish(wire, 2, (url, {"a": "2", "b": "1"}))
    await client.silent(url)


async def test_what_one_has_is_sent_again_when_it_is_asked_for_again(
    wire: Wire, client: XdsClient
) -> None:
    """Delta only: in state of the world the same names again are an ACK."""
    await client.begin(EDS, tags("ab"), "a", "b")
    await client.subscribe(EDS, "b")
    if client.variant.delta:
        assert (await client.take(EDS)).resources == {"b": "1"}
    await client.silent(EDS)


@of_each_type
async def test_a_missing_name_is_told_and_comes_when_it_exists(
    wire: Wire, client: XdsClient, url: str
) -> None:
    await client.ask(url, tags("a"), "a", "x")
    assert client.holds(url) == tags("a")
    if client.variant.delta or url in {CDS, LDS, RTDS}:
        assert client.missing(url) == {"x"}
    assert await wire.fleet.wait(1, WAIT_S) == ()
    await client.follow(url, 2, {"a": "1", "x": "2"})
    await client.check_current(url, {"a": "1", "x": "2"}, 2)


@of_each_type
async def test_nothing_is_invented_where_no_name_exists(
    wire: Wire, client: XdsClient, url: str
) -> None:
    """Silence is right in state of the world, but not for what a booting Envoy waits for."""
    answers = await client.ask(url, tags("a"), "x", "y")
    assert client.holds(url) == {}
    if client.variant.delta or url in {CDS, LDS, RTDS}:
        assert client.missing(url) == {"x", "y"}
        assert len(answers) == 1
    assert await wire.fleet.wait(1, WAIT_S) == ()


@of_each_type
async def test_a_removed_resource_is_told_and_comes_again(
    wire: Wire, client: XdsClient, url: str
) -> None:
    await client.begin(url, tags("ab"), "a", "b")
    await client.follow(url, 2, tags("a"))
    if client.variant.delta or url in WILDCARD_TYPES:
        assert (client.holds(url), client.missing(url)) == (tags("a"), {"b"})
    assert await wire.fleet.wait(2, WAIT_S) == ()
    await client.follow(url, 3, {"a": "1", "b": "3"})
    await client.check_current(url, {"a": "1", "b": "3"}, 3)


@of_some_types
async def test_a_resource_that_comes_back_unchanged_is_sent(
    wire: Wire, client: XdsClient, url: str
) -> None:
    await client.begin(url, tags("ab"), "a", "b")
    await client.follow(url, 2, tags("a"))
    await client.follow(url, 3, tags("ab"))
    await client.check_current(url, tags("ab"), 3)


@of_some_types
async def test_the_last_resource_of_a_type_can_go(wire: Wire, client: XdsClient, url: str) -> None:
    await client.begin(url, tags("a"), "a")
    publish(wire, 2)
    await client.settle(url)
    if client.variant.delta or url in WILDCARD_TYPES:
        assert (client.holds(url), client.missing(url)) == ({}, {"a"})
    assert await wire.fleet.wait(2, WAIT_S) == ()


@of_some_types
async def test_a_name_that_is_asked_for_twice_comes_once(
    wire: Wire, client: XdsClient, url: str
) -> None:
    publish(wire, 1, (url, tags("ab")))
    field = "resource_names_subscribe" if client.variant.delta else "resource_names"
    await client.send(url, **{field: ["a", "a", "b", "a"]})
    assert (await client.next(url)).resources == tags("ab")


@of_each_type
async def test_an_empty_name_is_no_resource_and_no_wildcard(
    wire: Wire, client: XdsClient, url: str
) -> None:
    await client.begin(url, tags("ab"), "a")
    await client.only(url, "")
    await client.settle(url)
    await client.follow(url, 2, tags("ab", "2"))
    assert client.holds(url) == {}
    await client.only(url, "", "b")
    await client.settle(url)
    await client.check_current(url, tags("b", "2"), 2)


async def test_types_do_not_mix(wire: Wire, client: XdsClient) -> None:
    """Each type is answered in whatever order they are asked for, and none waits for one not."""
    worlds = {url: tags(["same"], short(url)) for url in TYPES}
    publish(wire, 1, *worlds.items())
    for url in (RTDS, LDS, EDS, RDS):
        await client.subscribe(url, "same")
        assert (await client.take(url)).resources == worlds[url]
    assert await wire.fleet.wait(1, WAIT_S) == ()
    publish(wire, 2, *((url, tags(["same"], "2")) for url in TYPES))
    for url in (EDS, LDS, RDS, RTDS):
        await client.settle(url)
        assert client.holds(url) == tags(["same"], "2")
    assert await wire.fleet.wait(2, WAIT_S) == ()
