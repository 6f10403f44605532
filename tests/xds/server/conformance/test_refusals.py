"""What the xDS protocol asks of a server when a client refuses a response, in all four variants."""

from __future__ import annotations

from control_plane.names import EDS, RDS
from tests.xds.server.conformance.marks import (
    of_each_variant,
    of_some_types,
)
from tests.xds.server.conformance.world import publish, tags
from tests.xds.server.conformance.xds_client import WAIT_S, XdsClient
from tests.xds.server.wire import Wire

MAX_TRIES = 10
"""So often at the most is a refused resource sent again before something changes."""
pytestmark = of_each_variant


@of_some_types
async def test_a_refused_response_is_not_sent_in_a_loop_and_a_good_one_heals(
    wire: Wire, client: XdsClient, url: str
) -> None:
    await client.begin(url, tags("ab"), "a", "b")
    publish(wire, 2, (url, {"a": "bad", "b": "1"}))
    await client.refuse(url, MAX_TRIES)
    assert wire.fleet.nodes()[0].state == "NACKED"
    assert await wire.fleet.wait(2, 0.01) == ("n1",)
    await client.follow(url, 3, {"a": "3", "b": "1"})
    await client.check_current(url, {"a": "3", "b": "1"}, 3)
    assert wire.fleet.nodes()[0].state == "SYNCED"


@of_some_types
async def test_the_first_response_refused(wire: Wire, client: XdsClient, url: str) -> None:
    publish(wire, 1, (url, tags("a", "bad")))
    await client.subscribe(url, "a")
    await client.refuse(url, MAX_TRIES)
    assert await wire.fleet.wait(1, 0.01) == ("n1",)
    await client.follow(url, 2, tags("a", "2"))
    await client.check_current(url, tags("a", "2"), 2)


@of_some_types
async def test_back_to_the_version_before_the_refused_one(
    wire: Wire, client: XdsClient, url: str
) -> None:
    await client.begin(url, tags("a"), "a")
    publish(wire, 2, (url, tags("a", "bad")))
    await client.refuse(url, MAX_TRIES)
    await client.follow(url, 3, tags("a"))
    await client.check_current(url, tags("a"), 3)
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
