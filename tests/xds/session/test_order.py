"""Make before break: what is sent before what, what waits for which answer, and when a client is current."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.names import CDS, EDS, LDS, RDS
from control_plane.xds.session.order import SETTLE_S
from control_plane.xds.session.session import GATE_TIMEOUT_S
from control_plane.xds.snapshot import Snapshot
from tests.xds.session.envoy_model import Clock, boot, wanted
from tests.xds.session.scripts import delta, fleet, sotw


def test_05_a_changed_cluster_gets_its_endpoints_again() -> None:
    client = delta(fleet(1, "ab"))
    boot(client)
    client.log.clear()
    client.take(client.session.on_snapshot(fleet(2, "ab", a=b"changed")))
    assert (CDS, ("a",), ()) in client.log
    assert (EDS, ("a",), ()) in client.log


def test_06_a_snapshot_that_moves_between_clusters_and_endpoints_still_settles() -> None:
    client = delta(fleet(1, "a"))
    first = client.request(CDS)
    late = client.session.on_snapshot(fleet(2, "ab"))
    assert late == [], "nothing may go out while clusters are unanswered"
    client.take(first)
    boot(client)
    assert client.has[CDS] == wanted(fleet(2, "ab"), CDS)
    assert client.has[EDS] == wanted(fleet(2, "ab"), EDS)


def test_08_a_cluster_goes_only_after_the_routes_that_named_it() -> None:
    client = delta(fleet(1, "a"))
    boot(client)
    client.log.clear()
    client.take(client.session.on_snapshot(fleet(2, "b", routes=b"to b")))
    order = [(url, bool(names), bool(removed)) for url, names, removed in client.log]
    assert order.index((CDS, True, False)) < order.index((RDS, True, False))
    assert order.index((RDS, True, False)) < order.index((CDS, False, True))


def test_09_nothing_goes_that_refused_routes_may_still_name() -> None:
    client = delta(fleet(1, "ab"))
    boot(client)
    client.refuses_bodies = {b"bad routes"}
    client.take(client.session.on_snapshot(fleet(2, "a", routes=b"bad routes")))
    assert client.has[CDS].keys() == {"a", "b"}
    client.take(client.session.on_snapshot(fleet(3, "a", routes=b"good routes")))
    assert client.has[CDS].keys() == {"a"}
    assert client.session.acked_revision == 3


def test_09_a_refused_cluster_does_not_keep_another_from_going() -> None:
    client = delta(fleet(1, "ab"))
    boot(client)
    client.refuses = {"c"}
    client.take(client.session.on_snapshot(fleet(2, "ac", routes=b"to a and c")))
    assert client.has[CDS].keys() == {"a"}


def test_a_slow_type_holds_the_next_one_back_only_until_the_timeout() -> None:
    clock = Clock()
    client = delta(fleet(1, "a"), clock)
    boot(client)
    unanswered = client.session.on_snapshot(fleet(2, "ab", routes=b"new"))
    assert [response.type_url for response in unanswered] == [CDS]
    assert client.session.wake_at == clock.now + GATE_TIMEOUT_S
    clock.now += GATE_TIMEOUT_S
    assert [response.type_url for response in client.session.on_time()] == [RDS]


@pytest.mark.parametrize("make", [delta, sotw])
def test_a_stream_that_wants_few_types_counts_once_it_has_settled(make: Any) -> None:
    # A gRPC client, or an Envoy with a stream of its own for each type.
    clock = Clock()
    client = make(fleet(1, "a"), clock)
    client.take(client.request(CDS, "a"))
    assert client.session.acked_revision == 0
    assert client.session.wake_at == clock.now + SETTLE_S
    clock.now += SETTLE_S
    client.take(client.session.on_time())
    assert client.session.acked_revision == 1
    client.take(client.session.on_snapshot(fleet(2, "a", a=b"new")))
    assert client.session.acked_revision == 2, "and from then on at once"
    assert client.session.wake_at is None


@pytest.mark.parametrize("make", [delta, sotw])
def test_a_client_that_waits_for_its_first_listener_is_not_current_before_its_routes(
    make: Any,
) -> None:
    # An Envoy of a fresh system: connected for long when the first ruleset is published.
    clock = Clock()
    client = make(Snapshot(1, []), clock)
    client.take(client.request(CDS))
    client.take(client.request(LDS))
    assert client.session.acked_revision == 1
    clock.now += 100
    client.take(client.session.on_time())
    client.take(client.session.on_snapshot(fleet(2, "a")))
    assert client.has[LDS].keys() == {"edge"}
    assert client.session.acked_revision == 1, "it has not asked for its routes yet"
    client.take(client.request(RDS, "routes"))
    assert client.session.acked_revision == 2
