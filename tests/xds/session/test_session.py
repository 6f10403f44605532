"""What delta and state of the world have in common: boot, unchanged data, types that nobody serves.

The numbers in the names of tests here and in the files beside this are those of the list of subtle
bugs in section 3.3 of the xDS facts. Those that only show on the wire (7, 10, 14, 15) are in
tests/xds/server/test_wire.py.
"""

from __future__ import annotations

from typing import Any

import pytest
from envoy.service.discovery.v3 import discovery_pb2

from control_plane.names import CDS, ECDS, EDS, LDS, RDS
from control_plane.xds.session.delta import DeltaSession
from control_plane.xds.session.refusal import Refusal
from control_plane.xds.session.unsettled import Unsettled
from control_plane.xds.snapshot import Snapshot
from tests.xds.session.envoy_model import Clock, DeltaClient, boot, versions, wanted
from tests.xds.session.scripts import delta, fleet, res, sotw


def test_boot_gets_everything_and_is_acknowledged() -> None:
    snapshot = fleet(5, "ab")
    client = delta(snapshot)
    boot(client)
    for type_url in (CDS, EDS, LDS, RDS):
        assert client.has[type_url] == wanted(snapshot, type_url)
    assert client.session.acked_revision == 5
    assert {status.state for status in client.session.statuses()} == {"SYNCED"}


def test_unchanged_resources_are_never_sent() -> None:
    client = delta(fleet(1, "ab"))
    boot(client)
    client.log.clear()
    client.take(client.session.on_snapshot(fleet(2, "ab")))
    assert client.log == []
    assert client.session.acked_revision == 2


def test_only_what_changed_is_sent() -> None:
    client = delta(fleet(1, "abc"))
    boot(client)
    client.log.clear()
    client.take(client.session.on_snapshot(fleet(2, "abc", routes=b"new")))
    assert client.log == [(RDS, ("routes",), ())]


@pytest.mark.parametrize("make", [delta, sotw])
def test_an_unserved_type_goes_unanswered(make: Any) -> None:
    client = make(fleet(1, "a"))
    assert client.request("type.googleapis.com/x.Y", "name") == []
    boot(client)
    assert client.session.acked_revision == 1


@pytest.mark.parametrize("make", [delta, sotw])
def test_an_empty_wildcard_is_answered_once_in_both_protocols(make: Any) -> None:
    client = make(Snapshot(1, []))
    client.take(client.request(CDS))
    client.take(client.request(LDS))
    assert [entry[0] for entry in client.log] == [CDS, LDS]
    client.take(client.session.on_snapshot(Snapshot(2, [])))
    assert len(client.log) == 2
    assert client.session.acked_revision == 2


def test_a_slow_node_gets_only_the_newest() -> None:
    client = delta(fleet(1, "a"))
    boot(client)
    unanswered = client.session.on_snapshot(fleet(2, "a", routes=b"2"))
    for revision in range(3, 20):
        assert client.session.on_snapshot(fleet(revision, "a", routes=b"%d" % revision)) == []
    client.log.clear()
    client.take(unanswered)
    assert len(client.log) == 2
    assert client.has[RDS] == wanted(fleet(19, "a", routes=b"19"), RDS)


def test_a_retry_that_waits_for_the_clients_other_types_wakes_nobody() -> None:
    """A client that comes back names its types one by one, and has a cluster that is no more."""
    clock = Clock()
    before = fleet(1, "ab")
    session = DeltaSession(clock=clock)
    good, new = res(ECDS, "filter", b"old"), res(ECDS, "filter", b"new")
    left = [one for url in (CDS, LDS, RDS) for one in fleet(2, "a").of_type(url).values()]
    session.on_snapshot(Snapshot(2, [*left, new]))
    refusal = Refusal(new.version, "no", 1, clock.now, clock.now)
    session.take_over({ECDS: Unsettled(accepted={"filter": good}, refused={"filter": refusal})})
    client = DeltaClient(session)
    client.take(client.request(CDS, initial_resource_versions=versions(before, CDS)))
    client.take(client.request(ECDS, "filter", initial_resource_versions={"filter": good.version}))
    session.on_time()
    wake_at = session.wake_at
    assert wake_at is not None
    assert wake_at > clock.now


def returning(session: DeltaSession) -> None:
    """Have the client ask for its clusters as one that has some."""
    versions_of_before = versions(fleet(1, "abcdef"), CDS)
    session.on_request(
        discovery_pb2.DeltaDiscoveryRequest(
            type_url=CDS, initial_resource_versions=versions_of_before
        )
    )


def booting(session: DeltaSession) -> None:
    """Have the client ask for its clusters as one that has none."""
    session.on_request(discovery_pb2.DeltaDiscoveryRequest(type_url=CDS))


@pytest.mark.parametrize(
    ("arrive", "published", "confirmation", "held"),
    [
        (booting, "abc", "given", False),
        (booting, "abc", "awaited", True),
        (booting, "abc", "late", False),
        (booting, "", "given", False),
        (returning, "abc", "given", False),
        (returning, "abc", "awaited", True),
        (returning, "abc", "late", True),
        (returning, "", "given", True),
    ],
)
def test_who_is_held_back(arrive: Any, published: str, confirmation: str, held: bool) -> None:
    """The table of `session`: arrival, what is published, confirmation."""
    session = DeltaSession(clock=Clock())
    session.on_snapshot(fleet(2, published))
    session.await_confirmation()
    arrive(session)
    assert session.held, "nothing is sent before the confirmation"
    match confirmation:
        case "given":
            session.confirmed()
        case "late":
            session.confirmation_late()
    assert session.held is held
    assert (session.wake_at is None) or not held


def test_a_late_confirmation_still_frees_who_comes_back() -> None:
    session = DeltaSession(clock=Clock())
    session.on_snapshot(fleet(2, "abc"))
    session.await_confirmation()
    returning(session)
    assert session.confirmation_late() == []
    assert [response.type_url for response in session.confirmed()] == []
    assert not session.held


def test_a_shrink_that_is_taken_back_frees_the_client() -> None:
    session = DeltaSession(clock=Clock())
    session.on_snapshot(fleet(2, ""))
    returning(session)
    assert "all clusters" in session.shrink_reason
    session.on_snapshot(fleet(3, "abcdef"))
    assert session.shrink_reason == ""
    assert not session.held


def test_a_session_that_does_not_guard_takes_everything_away() -> None:
    session = DeltaSession(clock=Clock(), guards_shrink=False)
    session.on_snapshot(fleet(2, ""))
    returning(session)
    assert not session.held
