"""What a NACK leaves in doubt, and how it is found out what the client runs."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.names import CDS, ECDS, RDS
from control_plane.xds.session.refusal import RETRY_MAX_S
from control_plane.xds.snapshot import Snapshot
from tests.xds.session.envoy_model import Clock, boot, wanted
from tests.xds.session.scripts import delta, fleet, res, sotw, status_of


def test_09_a_refused_version_is_not_sent_in_a_loop_and_the_others_go_on() -> None:
    client = delta(fleet(1, "ab"))
    boot(client)
    client.refuses_bodies = {b"bad"}
    client.log.clear()
    client.take(client.session.on_snapshot(fleet(2, "ab", a=b"bad")))
    client.take(client.session.on_snapshot(fleet(3, "ab", a=b"bad", routes=b"x")))
    assert sum(names == ("a",) for url, names, _ in client.log if url == CDS) == 1
    assert client.has[CDS] == wanted(fleet(1, "ab"), CDS), "the last good version stays"
    assert client.has[RDS] == wanted(fleet(3, "ab", routes=b"x"), RDS), "other types go on"
    assert client.session.acked_revision == 1
    status = status_of(client, CDS)
    assert (status.state, status.rejected) == ("NACKED", ("a",))
    assert status.error == "Error adding/updating cluster(s) a: no good"
    client.take(client.session.on_snapshot(fleet(4, "ab", a=b"good")))
    assert client.has[CDS] == wanted(fleet(4, "ab", a=b"good"), CDS)
    assert client.session.acked_revision == 4


@pytest.mark.parametrize("make", [delta, sotw])
def test_09_after_a_nack_nothing_of_the_response_is_taken_for_granted(make: Any) -> None:
    # Envoy applies a and c, and refuses b: then a goes back, c goes, and b is mended.
    client = make(fleet(1, "ab"))
    boot(client)
    client.refuses_bodies = {b"bad"}
    client.take(client.session.on_snapshot(fleet(2, "abc", a=b"moved", b=b"bad")))
    assert client.has[CDS] == {"a": b"moved", "b": b"c", "c": b"c"}
    client.take(client.session.on_snapshot(fleet(3, "ab", b=b"mended")))
    assert client.has[CDS] == wanted(fleet(3, "ab", b=b"mended"), CDS)
    assert client.session.acked_revision == 3
    assert {status.state for status in client.session.statuses()} == {"SYNCED"}


@pytest.mark.parametrize("make", [delta, sotw])
def test_09_what_was_refused_for_a_passing_reason_is_tried_again(make: Any) -> None:
    clock = Clock()
    client = make(fleet(1, "ab"), clock)
    client.refuses = {"b"}
    boot(client)
    assert status_of(client, CDS).rejected == ("b",)
    client.refuses = set()
    waits: list[float] = []
    while client.session.acked_revision == 0:
        assert client.session.wake_at is not None
        waits.append(client.session.wake_at - clock.now)
        clock.now = client.session.wake_at
        client.take(client.session.on_time())
    assert sum(waits) <= RETRY_MAX_S
    assert client.has[CDS] == wanted(fleet(1, "ab"), CDS)
    assert status_of(client, CDS).error == ""


def test_09_tries_are_spaced_out_but_a_publication_brings_the_next_one_forward() -> None:
    clock = Clock()
    client = delta(fleet(1, "a"), clock)
    client.refuses = {"a"}
    boot(client)
    waits = []
    for _ in range(8):
        wake_at = client.session.wake_at
        assert wake_at is not None
        waits.append(wake_at - clock.now)
        clock.now = wake_at
        client.take(client.session.on_time())
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    clock.now += 1
    client.refuses = set()
    client.take(client.session.on_snapshot(fleet(2, "a")))
    assert client.session.acked_revision == 2


def test_09_going_back_to_what_runs_ends_the_error() -> None:
    client = delta(fleet(1, "ab"))
    boot(client)
    client.refuses_bodies = {b"bad"}
    client.take(client.session.on_snapshot(fleet(2, "ab", a=b"bad")))
    assert status_of(client, CDS).error
    client.take(client.session.on_snapshot(fleet(3, "ab")))
    status = status_of(client, CDS)
    assert (status.state, status.error) == ("SYNCED", "")
    assert client.session.acked_revision == 3


def test_09_another_version_that_is_refused_alone_leaves_the_first_one_uncertain() -> None:
    client = delta(fleet(1, "ab"))
    boot(client)
    client.refuses_bodies = {b"bad", b"worse"}
    first = client.session.on_snapshot(fleet(2, "ab", a=b"moved", b=b"bad"))
    client.session.on_snapshot(fleet(3, "ab", a=b"worse", b=b"bad"))
    client.take(first)
    assert client.has[CDS] == {"a": b"moved", "b": b"c"}
    client.take(client.session.on_snapshot(fleet(4, "ab")))
    assert client.has[CDS] == wanted(fleet(4, "ab"), CDS)
    assert client.session.acked_revision == 4


def test_09_filters_that_envoy_has_refused_are_tried_again_by_way_of_what_it_runs() -> None:
    clock = Clock()
    client = delta(Snapshot(1, [res(ECDS, "f", b"1"), res(ECDS, "g", b"1")]), clock)
    client.take(client.request(ECDS, "f", "g"))
    assert client.log == [(ECDS, ("f",), ()), (ECDS, ("g",), ())], "one at a time"
    client.refuses = {"f"}
    client.take(client.session.on_snapshot(Snapshot(2, [res(ECDS, "f", b"2"), res(ECDS, "g")])))
    client.refuses = set()
    clock.now += 1
    client.take(client.session.on_time())
    assert client.has[ECDS]["f"] == b"2"
    clock.now += 1
    client.take(client.session.on_time())
    assert client.session.acked_revision == 2
