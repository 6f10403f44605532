"""Wildcards, as the xDS protocol has them: legacy (nothing named at first) and explicit ("*")."""

from __future__ import annotations

import pytest

from control_plane.names import CDS, LDS
from control_plane.xds.resource_types import FALSE_ACK_TYPES
from tests.xds.server.conformance.marks import (
    of_each_type,
    of_each_variant,
    of_wildcard_types,
    short,
)
from tests.xds.server.conformance.variants import TYPES, WILDCARD_TYPES
from tests.xds.server.conformance.world import publish, tags
from tests.xds.server.conformance.xds_client import WAIT_S, XdsClient
from tests.xds.server.wire import Wire

pytestmark = of_each_variant


@of_wildcard_types
async def test_naming_nothing_at_first_asks_for_everything(
    wire: Wire, client: XdsClient, url: str
) -> None:
    publish(wire, 1, (url, tags("abc")))
    await client.subscribe(url)
    assert (await client.take(url)).resources == tags("abc")
    await client.silent(url)
    await client.follow(url, 2, {"b": "2", "c": "1", "d": "1"})
    await client.check_current(url, {"b": "2", "c": "1", "d": "1"}, 2)


@pytest.mark.parametrize("url", [url for url in TYPES if url not in WILDCARD_TYPES], ids=short)
async def test_naming_nothing_asks_for_nothing_of_other_types(
    wire: Wire, client: XdsClient, url: str
) -> None:
    await client.ask(url, tags("ab"))
    assert client.holds(url) == {}
    await client.subscribe(url, "a")
    await client.settle(url)
    await client.check_current(url, tags("a"), 1)


@of_each_type
async def test_a_star_asks_for_everything(wire: Wire, client: XdsClient, url: str) -> None:
    answers = await client.ask(url, tags("abc"), "*")
    assert client.holds(url) == tags("abc")
    assert len(answers) == (3 if url in FALSE_ACK_TYPES else 1)
    await client.follow(url, 2, {"a": "1", "c": "2", "d": "1"})
    holds = client.holds(url)
    if client.variant.delta or url in WILDCARD_TYPES:
        assert holds == {"a": "1", "c": "2", "d": "1"}
    assert holds | {"a": "1", "c": "2", "d": "1"} == holds
    assert await wire.fleet.wait(2, WAIT_S) == ()


@of_wildcard_types
@pytest.mark.parametrize("names", [(), ("*",)], ids=["legacy", "star"])
async def test_an_empty_world_is_answered(
    wire: Wire, client: XdsClient, url: str, names: tuple[str, ...]
) -> None:
    """Envoy waits 15 s for each of clusters and listeners otherwise, before it serves."""
    publish(wire, 1)
    await client.subscribe(url, *names)
    answer = await client.take(url)
    assert (answer.resources, answer.removed) == ({}, ())
    await client.silent(url)
    assert await wire.fleet.wait(1, WAIT_S) == ()
    publish(wire, 2, (url, tags("a")))
    assert (await client.take(url)).resources == tags("a")
    assert await wire.fleet.wait(2, WAIT_S) == ()


@of_wildcard_types
async def test_a_world_that_was_never_published_is_answered(
    wire: Wire, client: XdsClient, url: str
) -> None:
    await client.subscribe(url)
    assert (await client.take(url)).resources == {}
    publish(wire, 1, (url, tags("a")))
    assert (await client.take(url)).resources == tags("a")
    assert await wire.fleet.wait(1, WAIT_S) == ()


@of_wildcard_types
async def test_the_world_may_become_empty(wire: Wire, client: XdsClient, url: str) -> None:
    await client.begin(url, tags("ab"))
    publish(wire, 2)
    await client.settle(url)
    await client.check_current(url, {}, 2)


@of_wildcard_types
async def test_from_everything_to_a_name_and_back(wire: Wire, client: XdsClient, url: str) -> None:
    """State of the world: [], [a], ["*", a]. Delta: *, then a without *, then * again."""
    await client.begin(url, tags("abc"))
    await client.only(url, "a")
    await client.settle(url)
    publish(wire, 2, (url, {"a": "1", "b": "2", "c": "1"}))
    await client.silent(url)
    await client.follow(url, 3, {"a": "3", "b": "2", "c": "1"})
    assert client.holds(url) == {"a": "3"}
    await client.only(url, "*", "a")
    await client.settle(url)
    await client.check_current(url, {"a": "3", "b": "2", "c": "1"}, 3)


@of_wildcard_types
async def test_a_star_given_up_ends_everything(wire: Wire, client: XdsClient, url: str) -> None:
    await client.begin(url, tags("ab"), "*")
    await client.unsubscribe(url, "*")
    await client.settle(url)
    assert client.holds(url) == {}
    publish(wire, 2, (url, tags("ab", "2")))
    await client.silent(url)
    assert await wire.fleet.wait(2, WAIT_S) == ()
    await client.subscribe(url, "*")
    await client.settle(url)
    await client.check_current(url, tags("ab", "2"), 2)


@of_wildcard_types
async def test_a_star_given_up_and_asked_for_again_is_answered_though_nothing_changed(
    wire: Wire, client: XdsClient, url: str
) -> None:
    await client.begin(url, tags("ab"), "*")
    await client.renew(url, "*")
    assert client.holds(url) == tags("ab")


@of_wildcard_types
async def test_a_star_given_up_after_a_refusal_and_asked_for_again_is_answered(
    wire: Wire, client: XdsClient, url: str
) -> None:
    publish(wire, 1, (url, tags("ab", "bad")))
    await client.subscribe(url, "*")
    await client.refuse(url)
    await client.renew(url, "*")
    await client.check_current(url, tags("ab", "bad"), 1)


@of_wildcard_types
async def test_a_named_first_request_is_no_wildcard_later(
    wire: Wire, client: XdsClient, url: str
) -> None:
    await client.begin(url, tags("ab"), "a")
    await client.unsubscribe(url, "a")
    await client.settle(url)
    await client.subscribe(url)
    await client.follow(url, 2, tags("ab", "2"))
    assert client.holds(url) == {}


@of_wildcard_types
async def test_a_star_beside_a_name(wire: Wire, client: XdsClient, url: str) -> None:
    await client.begin(url, tags("ab"), "a")
    await client.subscribe(url, "*")
    await client.settle(url)
    assert client.holds(url) == tags("ab")
    await client.unsubscribe(url, "*")
    await client.settle(url)
    await client.follow(url, 2, tags("ab", "2"))
    assert client.holds(url) == {"a": "2"}


@of_wildcard_types
async def test_a_missing_name_beside_a_star(wire: Wire, client: XdsClient, url: str) -> None:
    await client.ask(url, tags("ab"), "*", "x")
    assert (client.holds(url), client.missing(url)) == (tags("ab"), {"x"})
    await client.follow(url, 2, tags("abx"))
    assert (client.holds(url), client.missing(url)) == (tags("abx"), set())
    assert await wire.fleet.wait(2, WAIT_S) == ()


@of_wildcard_types
async def test_a_name_given_up_under_a_wildcard_is_told_again(
    wire: Wire, client: XdsClient, url: str
) -> None:
    """Delta: the client has dropped it, and the wildcard gives it back, or says that it is gone."""
    await client.ask(url, tags("ab"), "*", "a", "x")
    await client.unsubscribe(url, "a", "x")
    if client.variant.delta:
        client.holds(url).pop("a")
        client.missing(url).clear()
        await client.settle(url)
        assert client.missing(url) == {"x"}
    await client.settle(url)
    assert client.holds(url) == tags("ab")


@pytest.mark.parametrize("first", [CDS, LDS], ids=short)
async def test_both_wildcards_on_one_node_in_either_order(
    wire: Wire, client: XdsClient, first: str
) -> None:
    second = LDS if first == CDS else CDS
    publish(wire, 1, (CDS, tags("ab")), (LDS, tags("l")))
    await client.subscribe(first)
    await client.subscribe(second)
    await client.settle(first)
    await client.settle(second)
    await client.settle(first)
    assert (client.holds(CDS), client.holds(LDS)) == (tags("ab"), tags("l"))
    assert await wire.fleet.wait(1, WAIT_S) == ()
