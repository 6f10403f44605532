"""Request and response scripts against the pure session machines.

The numbers are those of the list of subtle bugs in section 3.3 of the xDS facts. Those that only
show on the wire (7, 10, 14, 15) are in test_wire.py.
"""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2

from control_plane.names import CDS, ECDS, EDS, LDS, RDS
from control_plane.xds.resource import Resource
from control_plane.xds.session.delta import DeltaSession
from control_plane.xds.session.session import GATE_TIMEOUT_S, SETTLE_S
from control_plane.xds.session.sotw import SotwSession
from control_plane.xds.session.status import TypeStatus
from control_plane.xds.session.subscription import RETRY_MAX_S, Doubt, Refusal
from control_plane.xds.snapshot import Snapshot
from tests.xds.session.envoy_model import Clock, DeltaClient, SotwClient, boot, versions, wanted


def res(type_url: str, name: str, body: bytes = b"1") -> Resource:
    return Resource.of(type_url, name, body)


def fleet(revision: int, clusters: str, *, routes: bytes = b"r", **bodies: bytes) -> Snapshot:
    """Clusters with endpoints of the same names, one listener and one route table."""
    made = [res(LDS, "edge"), res(RDS, "routes", routes)]
    for name in clusters:
        made += [res(CDS, name, bodies.get(name, b"c")), res(EDS, name, b"e" + name.encode())]
    return Snapshot(revision, made)


def delta(snapshot: Snapshot, clock: Clock | None = None) -> DeltaClient:
    session = DeltaSession(clock=clock or Clock())
    session.on_snapshot(snapshot)
    return DeltaClient(session)


def sotw(snapshot: Snapshot, clock: Clock | None = None) -> SotwClient:
    session = SotwSession(clock=clock or Clock())
    session.on_snapshot(snapshot)
    return SotwClient(session)


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


def test_01_a_reconnect_removes_what_vanished_meanwhile() -> None:
    snapshot = fleet(3, "b")
    client = delta(snapshot)
    has = {"a": "old", "b": versions(snapshot, CDS)["b"]}
    client.has[CDS] = {"a": b"old", "b": wanted(snapshot, CDS)["b"]}
    client.take(client.request(CDS, initial_resource_versions=has))
    client.take(client.request(EDS, "b"))
    client.take(client.request(LDS))
    client.take(client.request(RDS, "routes"))
    assert client.has[CDS] == wanted(snapshot, CDS)
    assert (CDS, (), ("a",)) in client.log


def test_01_a_reconnect_with_unchanged_data_sends_nothing() -> None:
    snapshot = fleet(3, "ab")
    client = delta(snapshot)
    for type_url, names in ((CDS, ()), (EDS, ("a", "b")), (LDS, ()), (RDS, ("routes",))):
        client.take(
            client.request(type_url, *names, initial_resource_versions=versions(snapshot, type_url))
        )
    assert client.log == []
    assert client.session.acked_revision == 3


def test_02_a_name_that_does_not_exist_yet_is_sent_when_it_appears() -> None:
    client = delta(Snapshot(1, [res(LDS, "edge")]))
    client.take(client.request(RDS, "late"))
    assert client.log == [(RDS, (), ("late",))]
    client.take(client.session.on_snapshot(Snapshot(2, [res(LDS, "edge"), res(RDS, "late")])))
    assert client.has[RDS].keys() == {"late"}


def test_03_endpoints_that_do_not_exist_are_told_once_and_sent_when_they_appear() -> None:
    client = delta(Snapshot(1, [res(CDS, "a")]))
    client.take(client.request(CDS))
    client.take(client.request(EDS, ""))
    assert [entry for entry in client.log if entry[0] == EDS] == [
        (EDS, (), ("a",)),
        (EDS, (), ("",)),
    ]
    client.take(client.session.on_snapshot(fleet(2, "a")))
    assert client.has[EDS] == wanted(fleet(2, "a"), EDS)


def test_04_names_subscribed_with_the_wildcard_stay_wildcard() -> None:
    client = delta(fleet(1, "ab"))
    client.take(client.request(CDS, "*", "a"))
    client.take(client.session.on_snapshot(fleet(2, "abc")))
    assert client.has[CDS].keys() == {"a", "b", "c"}


def old_envoy(minor: int) -> Any:
    node = base_pb2.Node(id="n", user_agent_name="envoy")
    node.user_agent_build_version.version.major_number = 1
    node.user_agent_build_version.version.minor_number = minor
    return node


def test_04_an_old_envoy_that_reconnects_by_name_still_has_the_wildcard() -> None:
    snapshot = fleet(1, "ab")
    client = delta(snapshot)
    have = versions(snapshot, CDS)
    client.take(client.request(CDS, *have, initial_resource_versions=have, node=old_envoy(18)))
    client.take(client.session.on_snapshot(fleet(2, "abc")))
    assert "c" in client.has[CDS]


def test_04_a_newer_one_means_the_names_that_it_says() -> None:
    snapshot = fleet(1, "ab")
    client = delta(snapshot)
    have = versions(snapshot, CDS)
    client.take(client.request(CDS, *have, initial_resource_versions=have, node=old_envoy(19)))
    client.take(client.session.on_snapshot(fleet(2, "abc")))
    assert "c" not in client.has.get(CDS, {})


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


def test_08_state_of_the_world_keeps_the_old_cluster_until_the_routes_are_there() -> None:
    client = sotw(fleet(1, "a"))
    boot(client)
    client.log.clear()
    client.take(client.session.on_snapshot(fleet(2, "b", routes=b"to b")))
    assert [entry for entry in client.log if entry[0] in {CDS, RDS}] == [
        (CDS, 2),
        (RDS, 1),
        (CDS, 1),
    ]
    assert client.has[CDS].keys() == {"b"}
    assert client.session.acked_revision == 2


def status_of(client: DeltaClient | SotwClient, type_url: str) -> TypeStatus:
    (status,) = (one for one in client.session.statuses() if one.type_url == type_url)
    return status


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


def test_09_state_of_the_world_puts_the_last_good_one_in_for_what_was_refused() -> None:
    client = sotw(fleet(1, "ab"))
    boot(client)
    client.refuses_bodies = {b"bad"}
    client.take(client.session.on_snapshot(fleet(2, "ab", a=b"bad")))
    client.take(client.session.on_snapshot(fleet(3, "ab", a=b"bad", b=b"new")))
    assert client.has[CDS] == {"a": b"c", "b": b"new"}


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


def test_09_state_of_the_world_boots_with_all_that_is_good() -> None:
    client = sotw(fleet(1, "abcde", e=b"bad"))
    client.refuses_bodies = {b"bad"}
    boot(client)
    assert client.has[CDS].keys() == set("abcd")
    client.take(client.session.on_snapshot(fleet(2, "abcdef", e=b"bad")))
    assert client.has[CDS].keys() == set("abcdf")
    assert client.session.acked_revision == 0
    client.take(client.session.on_snapshot(fleet(3, "abcdef", e=b"mended")))
    assert client.has[CDS] == wanted(fleet(3, "abcdef", e=b"mended"), CDS)
    assert client.session.acked_revision == 3


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
    again.doubt(ended.doubts())
    client.take(client.reconnect(again))
    assert client.has[CDS] == wanted(fleet(3, "ab"), CDS)


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


def test_11_an_empty_request_for_an_on_demand_type_is_not_the_whole_world() -> None:
    client = delta(Snapshot(1, [res(ECDS, "filter"), res(RDS, "routes")]))
    client.take(client.request(ECDS))
    client.take(client.request(RDS))
    assert client.log == []


def test_12_versions_are_content_so_a_restarted_server_says_the_same() -> None:
    assert res(CDS, "a", b"x").version == res(CDS, "a", b"x").version
    assert res(CDS, "a", b"x").version != res(CDS, "a", b"y").version


def test_13_a_route_table_that_is_gone_may_be_asked_for() -> None:
    client = delta(fleet(1, "a"))
    boot(client)
    client.take(client.request(RDS, "gone", initial_resource_versions={"gone": "7"}))
    assert client.has[RDS].keys() == {"routes"}


def test_a_stale_nonce_still_changes_the_subscription_in_delta() -> None:
    client = delta(fleet(1, "ab"))
    client.take(client.request(EDS, "a"))
    more = client.session.on_request(
        discovery_pb2.DeltaDiscoveryRequest(
            type_url=EDS, response_nonce="0", resource_names_subscribe=["b"]
        )
    )
    client.take(more)
    assert client.has[EDS].keys() == {"a", "b"}


def test_a_stale_nonce_is_ignored_in_state_of_the_world() -> None:
    client = sotw(fleet(1, "a"))
    (response,) = client.request(CDS)
    assert client.request(CDS, nonce="stale") == []
    client.take([response])
    assert client.has[CDS].keys() == {"a"}


def test_subscribing_again_means_send_again() -> None:
    client = delta(fleet(1, "a"))
    client.take(client.request(EDS, "a"))
    client.log.clear()
    client.take(client.request(EDS, "a"))
    assert client.log == [(EDS, ("a",), ())]


def test_unsubscribing_a_name_under_the_wildcard_is_answered_with_the_resource() -> None:
    client = delta(fleet(1, "a"))
    client.take(client.request(CDS, "*", "a"))
    client.log.clear()
    client.take(
        client.session.on_request(
            discovery_pb2.DeltaDiscoveryRequest(type_url=CDS, resource_names_unsubscribe=["a"])
        )
    )
    assert (CDS, ("a",), ()) in client.log


def test_unsubscribing_a_missing_name_under_the_wildcard_is_answered_with_its_removal() -> None:
    client = delta(fleet(1, "a"))
    client.take(client.request(CDS, "*", "nothing"))
    client.take(client.request(EDS, "a"))
    client.take(client.request(LDS))
    client.take(client.request(RDS, "routes"))
    client.log.clear()
    client.take(
        client.session.on_request(
            discovery_pb2.DeltaDiscoveryRequest(
                type_url=CDS, resource_names_unsubscribe=["nothing"]
            )
        )
    )
    assert client.log == [(CDS, (), ("nothing",))]


def test_state_of_the_world_once_a_name_was_given_an_empty_list_is_no_wildcard() -> None:
    client = sotw(fleet(1, "ab"))
    client.take(client.request(CDS, "a"))
    client.names[CDS] = set()
    client.take(client.request(CDS))
    client.log.clear()
    client.take(client.session.on_snapshot(fleet(2, "abc", a=b"new")))
    assert client.log == []


def test_a_name_that_stands_twice_in_a_snapshot_is_refused() -> None:
    with pytest.raises(ValueError, match="stands twice"):
        Snapshot(1, [res(CDS, "a"), res(CDS, "a", b"2")])


def test_unsubscribing_what_was_never_subscribed_is_tolerated() -> None:
    client = delta(fleet(1, "a"))
    request = discovery_pb2.DeltaDiscoveryRequest(type_url=EDS, resource_names_unsubscribe=["x"])
    assert client.session.on_request(request) == []


def test_state_of_the_world_reconnect_with_the_same_version_sends_no_clusters() -> None:
    snapshot = fleet(1, "ab")
    first = sotw(snapshot)
    boot(first)
    again = sotw(snapshot)
    again.versions = dict(first.versions)
    assert again.request(CDS) == []
    assert again.request(LDS) == []


def test_state_of_the_world_answers_a_new_name_even_if_nothing_changed() -> None:
    client = sotw(fleet(1, "ab"))
    client.take(client.request(EDS, "a"))
    client.take(client.request(EDS, "b"))
    assert client.has[EDS].keys() == {"a", "b"}


def test_a_slow_type_holds_the_next_one_back_only_until_the_timeout() -> None:
    clock = Clock()
    client = delta(fleet(1, "a"), clock)
    boot(client)
    unanswered = client.session.on_snapshot(fleet(2, "ab", routes=b"new"))
    assert [response.type_url for response in unanswered] == [CDS]
    assert client.session.wake_at == clock.now + GATE_TIMEOUT_S
    clock.now += GATE_TIMEOUT_S
    assert [response.type_url for response in client.session.on_time()] == [RDS]


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


def test_an_empty_wildcard_is_answered_once() -> None:
    client = delta(Snapshot(1, []))
    client.take(client.request(CDS))
    assert client.log == [(CDS, (), ())]
    client.take(client.session.on_snapshot(Snapshot(2, [])))
    assert len(client.log) == 1


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


def test_delta_the_wildcard_may_be_given_up_and_taken_again_after_a_nack() -> None:
    client = delta(fleet(1, "ab"))
    client.refuses = {"a"}
    client.take(client.request(CDS, "*"))
    assert client.has[CDS].keys() == {"b"}
    client.refuses = set()
    give_up = discovery_pb2.DeltaDiscoveryRequest(type_url=CDS, resource_names_unsubscribe=["*"])
    client.take(client.session.on_request(give_up))
    client.log.clear()
    client.take(client.request(CDS, "*"))
    assert (CDS, ("a", "b"), ()) in client.log


def test_state_of_the_world_a_wildcard_that_comes_back_gets_everything_again() -> None:
    client = sotw(fleet(1, "abc"))
    client.take(client.request(CDS))
    client.names[CDS] = {"a"}
    client.take(client.request(CDS))
    client.log.clear()
    client.names[CDS] = {"*", "a"}
    client.take(client.request(CDS))
    assert client.log[0] == (CDS, 3)


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


def test_a_retry_that_waits_for_the_clients_other_types_wakes_nobody() -> None:
    """A client that comes back names its types one by one, and has a cluster that is no more."""
    clock = Clock()
    before = fleet(1, "ab")
    session = DeltaSession(clock=clock)
    good, new = res(ECDS, "filter", b"old"), res(ECDS, "filter", b"new")
    left = [one for url in (CDS, LDS, RDS) for one in fleet(2, "a").of_type(url).values()]
    session.on_snapshot(Snapshot(2, [*left, new]))
    refusal = Refusal(new.version, "no", 1, clock.now, clock.now)
    session.doubt({ECDS: Doubt(good={"filter": good}, refused={"filter": refusal})})
    client = DeltaClient(session)
    client.take(client.request(CDS, initial_resource_versions=versions(before, CDS)))
    client.take(client.request(ECDS, "filter", initial_resource_versions={"filter": good.version}))
    session.on_time()
    wake_at = session.wake_at
    assert wake_at is not None
    assert wake_at > clock.now


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
    doubts = before.session.doubts()

    again = made(published, clock)
    again.session.doubt(doubts)
    before.take(before.reconnect(again.session))
    assert status_of(before, ECDS).state == "NACKED", "the same bytes would only seem to be taken"

    anew = made(published, clock)
    anew.session.doubt(doubts)
    boot(anew)
    anew.take(anew.request(ECDS, "filter"))
    assert anew.has[ECDS] == {"filter": b"bad"}
    assert status_of(anew, ECDS).state == "SYNCED"


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
