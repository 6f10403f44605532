"""What the xDS protocol asks of a server, said by a client over the wire, in all four variants.

The rules are those of Envoy's xds_protocol document; where it leaves a choice, what the real Envoy
needs in order to go on decides. Wildcards, and streams as such, have files of their own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from control_plane.names import CDS, EDS, LDS, RDS, RTDS
from control_plane.xds.resource import REFUSED_STAYS_REFUSED
from tests.xds.server.wire import Wire
from tests.xds.server.xds_client import (
    TYPES,
    VARIANTS,
    WAIT_S,
    WILDCARD_TYPES,
    Variant,
    XdsClient,
    publish,
    tags,
)

NAMED = (CDS, EDS, RTDS)
"""A type with a full state and a wildcard, and two without."""
MAX_TRIES = 10
"""So often at the most is a refused resource sent again before something changes."""

pytestmark = pytest.mark.parametrize("variant", VARIANTS, ids=str)


def short(type_url: str) -> str:
    return type_url.rpartition(".")[2]


of_each_type = pytest.mark.parametrize("url", TYPES, ids=short)
of_bundled_types = pytest.mark.parametrize(
    "url", [url for url in TYPES if url not in REFUSED_STAYS_REFUSED], ids=short
)
of_solitary_types = pytest.mark.parametrize("url", sorted(REFUSED_STAYS_REFUSED), ids=short)
of_some_types = pytest.mark.parametrize("url", NAMED, ids=short)


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with Wire(force_shrink=True) as made:
        yield made


@pytest.fixture
async def client(wire: Wire, variant: Variant) -> AsyncIterator[XdsClient]:
    async with XdsClient(wire, variant) as made:
        yield made


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
    publish(wire, 1, (url, tags("abcd")))
    await client.subscribe(url, "c", "a")
    answers = await client.settle(url)
    assert client.holds(url) == tags("ac")
    assert len(answers) == 2
    assert await wire.fleet.wait(1, WAIT_S) == ()


@of_bundled_types
async def test_a_change_is_sent_once_and_only_to_who_asked_for_it(
    wire: Wire, client: XdsClient, url: str
) -> None:
    publish(wire, 1, (url, tags("abc")))
    await client.subscribe(url, "a", "b")
    await client.take(url)
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
    publish(wire, 1, (url, tags("abc")))
    await client.subscribe(url, "a")
    await client.take(url)
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
    publish(wire, 1, (url, tags("ab")))
    await client.subscribe(url, "a", "b")
    await client.take(url)
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
    publish(wire, 1, (url, tags("ab")))
    await client.subscribe(url, "a")
    await client.take(url)
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
    publish(wire, 1, (url, tags("ab")))
    await client.subscribe(url, "a")
    await client.take(url)
    await client.only(url, "b")
    assert (await client.take(url)).resources == {"b": "1"}
    publish(wire, 2, (url, {"a": "2", "b": "1"}))
    await client.silent(url)


async def test_what_one_has_is_sent_again_when_it_is_asked_for_again(
    wire: Wire, client: XdsClient
) -> None:
    """Delta only: in state of the world the same names again are an ACK."""
    publish(wire, 1, (EDS, tags("ab")))
    await client.subscribe(EDS, "a", "b")
    await client.take(EDS)
    await client.subscribe(EDS, "b")
    if client.variant.delta:
        assert (await client.take(EDS)).resources == {"b": "1"}
    await client.silent(EDS)


@of_each_type
async def test_a_missing_name_is_told_and_comes_when_it_exists(
    wire: Wire, client: XdsClient, url: str
) -> None:
    publish(wire, 1, (url, tags("a")))
    await client.subscribe(url, "a", "x")
    await client.settle(url)
    assert client.holds(url) == tags("a")
    if client.variant.delta or url in {CDS, LDS, RTDS}:
        assert client.missing(url) == {"x"}
    assert await wire.fleet.wait(1, WAIT_S) == ()
    publish(wire, 2, (url, {"a": "1", "x": "2"}))
    await client.settle(url)
    assert client.holds(url) == {"a": "1", "x": "2"}
    assert await wire.fleet.wait(2, WAIT_S) == ()


@of_each_type
async def test_nothing_is_invented_where_no_name_exists(
    wire: Wire, client: XdsClient, url: str
) -> None:
    """Silence is right in state of the world, but not for what a booting Envoy waits for."""
    publish(wire, 1, (url, tags("a")))
    await client.subscribe(url, "x", "y")
    answers = await client.settle(url)
    assert client.holds(url) == {}
    if client.variant.delta or url in {CDS, LDS, RTDS}:
        assert client.missing(url) == {"x", "y"}
        assert len(answers) == 1
    assert await wire.fleet.wait(1, WAIT_S) == ()


@of_each_type
async def test_a_removed_resource_is_told_and_comes_again(
    wire: Wire, client: XdsClient, url: str
) -> None:
    publish(wire, 1, (url, tags("ab")))
    await client.subscribe(url, "a", "b")
    await client.take(url)
    publish(wire, 2, (url, tags("a")))
    await client.settle(url)
    if client.variant.delta or url in WILDCARD_TYPES:
        assert (client.holds(url), client.missing(url)) == (tags("a"), {"b"})
    assert await wire.fleet.wait(2, WAIT_S) == ()
    publish(wire, 3, (url, {"a": "1", "b": "3"}))
    await client.settle(url)
    assert client.holds(url) == {"a": "1", "b": "3"}
    assert await wire.fleet.wait(3, WAIT_S) == ()


@of_some_types
async def test_a_resource_that_comes_back_unchanged_is_sent(
    wire: Wire, client: XdsClient, url: str
) -> None:
    publish(wire, 1, (url, tags("ab")))
    await client.subscribe(url, "a", "b")
    await client.take(url)
    publish(wire, 2, (url, tags("a")))
    await client.settle(url)
    publish(wire, 3, (url, tags("ab")))
    await client.settle(url)
    assert client.holds(url) == tags("ab")
    assert await wire.fleet.wait(3, WAIT_S) == ()


@of_some_types
async def test_the_last_resource_of_a_type_can_go(wire: Wire, client: XdsClient, url: str) -> None:
    publish(wire, 1, (url, tags("a")))
    await client.subscribe(url, "a")
    await client.take(url)
    publish(wire, 2)
    await client.settle(url)
    if client.variant.delta or url in WILDCARD_TYPES:
        assert (client.holds(url), client.missing(url)) == ({}, {"a"})
    assert await wire.fleet.wait(2, WAIT_S) == ()


@of_some_types
async def test_a_refused_response_is_not_sent_in_a_loop_and_a_good_one_heals(
    wire: Wire, client: XdsClient, url: str
) -> None:
    publish(wire, 1, (url, tags("ab")))
    await client.subscribe(url, "a", "b")
    await client.take(url)
    publish(wire, 2, (url, {"a": "bad", "b": "1"}))
    await client.refuse(url, MAX_TRIES)
    assert wire.fleet.nodes()[0].state == "NACKED"
    assert await wire.fleet.wait(2, 0.01) == ("n1",)
    publish(wire, 3, (url, {"a": "3", "b": "1"}))
    await client.settle(url)
    assert client.holds(url) == {"a": "3", "b": "1"}
    assert await wire.fleet.wait(3, WAIT_S) == ()
    assert wire.fleet.nodes()[0].state == "SYNCED"


@of_some_types
async def test_the_first_response_refused(wire: Wire, client: XdsClient, url: str) -> None:
    publish(wire, 1, (url, tags("a", "bad")))
    await client.subscribe(url, "a")
    await client.refuse(url, MAX_TRIES)
    assert await wire.fleet.wait(1, 0.01) == ("n1",)
    publish(wire, 2, (url, tags("a", "2")))
    await client.settle(url)
    assert client.holds(url) == tags("a", "2")
    assert await wire.fleet.wait(2, WAIT_S) == ()


@of_some_types
async def test_back_to_the_version_before_the_refused_one(
    wire: Wire, client: XdsClient, url: str
) -> None:
    publish(wire, 1, (url, tags("a")))
    await client.subscribe(url, "a")
    await client.take(url)
    publish(wire, 2, (url, tags("a", "bad")))
    await client.refuse(url, MAX_TRIES)
    publish(wire, 3, (url, tags("a")))
    await client.settle(url)
    assert client.holds(url) == tags("a")
    assert await wire.fleet.wait(3, WAIT_S) == ()
    (status,) = wire.fleet.nodes()
    assert [status.state, *(one.error for one in status.types)] == ["SYNCED", ""]


@of_some_types
async def test_refused_given_up_and_asked_for_again_is_answered(
    wire: Wire, client: XdsClient, url: str
) -> None:
    publish(wire, 1, (url, tags("a", "bad")))
    await client.subscribe(url, "a")
    await client.refuse(url, MAX_TRIES)
    await client.unsubscribe(url, "a")
    await client.settle(url)
    await client.subscribe(url, "a")
    assert (await client.take(url)).resources == {"a": "bad"}
    await client.settle(url)
    assert await wire.fleet.wait(1, WAIT_S) == ()


async def test_one_refused_type_does_not_stop_another(wire: Wire, client: XdsClient) -> None:
    publish(wire, 1, (EDS, tags("a", "bad")), (RDS, tags("r")))
    await client.subscribe(EDS, "a")
    await client.refuse(EDS, MAX_TRIES)
    await client.subscribe(RDS, "r")
    assert (await client.take(RDS)).resources == tags("r")
    publish(wire, 2, (EDS, tags("a", "bad")), (RDS, tags("r", "2")))
    await client.settle(RDS)
    assert client.holds(RDS) == tags("r", "2")


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
    publish(wire, 1, (url, tags("ab")))
    await client.subscribe(url, "a")
    await client.take(url)
    await client.only(url, "")
    await client.settle(url)
    publish(wire, 2, (url, tags("ab", "2")))
    await client.settle(url)
    assert client.holds(url) == {}
    await client.only(url, "", "b")
    await client.settle(url)
    assert client.holds(url) == tags("b", "2")
    assert await wire.fleet.wait(2, WAIT_S) == ()


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
