"""What a stream that ends leaves open, and what the next one makes of it."""

from __future__ import annotations

import pytest

from control_plane.names import CDS, ECDS, LDS
from control_plane.xds.session.delta import DeltaSession
from control_plane.xds.snapshot import Snapshot
from tests.xds.session.envoy_model import Clock, boot, wanted
from tests.xds.session.scripts import delta, fleet, res, sotw, status_of


def test_09_a_stream_that_ends_in_doubt_leaves_it_to_the_next() -> None:
    # The client has applied a, but names its old version; meanwhile that is published again.
    client = delta(fleet(1, "ab"))
    boot(client)
    client.refuses_bodies = {b"bad"}
    responses = client.session.on_snapshot(fleet(2, "ab", a=b"moved", b=b"bad"))
    ended = client.session
    client.session = DeltaSession()
    for response in responses:
        client.apply(response)
    assert client.has[CDS]["a"] == b"moved"
    again = DeltaSession()
    again.on_snapshot(fleet(3, "ab"))
    again.take_over(ended.unsettled())
    client.take(client.reconnect(again))
    assert client.has[CDS] == wanted(fleet(3, "ab"), CDS)


@pytest.mark.parametrize("kind", ["delta", "sotw"])
def test_a_client_that_was_started_anew_is_sent_what_it_had_refused_before(kind: str) -> None:
    """Such as an Envoy of a newer version, which knows the filter."""
    clock = Clock()
    made = delta if kind == "delta" else sotw
    published = Snapshot(1, [res(CDS, "a"), res(LDS, "edge"), res(ECDS, "filter", b"bad")])
    before = made(published, clock)
    before.refuses_bodies = {b"bad"}
    boot(before)
    before.take(before.request(ECDS, "filter"))
    assert status_of(before, ECDS).rejected == ("filter",)
    unsettled = before.session.unsettled()

    again = made(published, clock)
    again.session.take_over(unsettled)
    before.take(before.reconnect(again.session))
    assert status_of(before, ECDS).state == "NACKED", "the same bytes would only seem to be taken"

    anew = made(published, clock)
    anew.session.take_over(unsettled)
    boot(anew)
    anew.take(anew.request(ECDS, "filter"))
    assert anew.has[ECDS] == {"filter": b"bad"}
    assert status_of(anew, ECDS).state == "SYNCED"
