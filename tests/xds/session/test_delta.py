"""Delta: subscriptions by name and by wildcard, reconnects, and names that do not exist."""

from __future__ import annotations

from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2

from control_plane.names import CDS, ECDS, EDS, LDS, RDS
from control_plane.xds.snapshot import Snapshot
from tests.xds.session.envoy_model import boot, versions, wanted
from tests.xds.session.scripts import delta, fleet, res


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


def test_03_what_a_client_has_is_not_forgotten_when_it_is_told_that_another_name_is_absent() -> (
    None
):
    client = delta(Snapshot(1, [res(LDS, "edge")]))
    published = fleet(2, "a")
    has = versions(published, EDS)
    client.take(client.request(EDS, "a", "never", initial_resource_versions=has))
    assert client.log == [(EDS, (), ("never",))]
    client.log.clear()
    client.take(client.session.on_snapshot(published))
    assert client.log == []


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


def test_11_an_empty_request_for_an_on_demand_type_is_not_the_whole_world() -> None:
    client = delta(Snapshot(1, [res(ECDS, "filter"), res(RDS, "routes")]))
    client.take(client.request(ECDS))
    client.take(client.request(RDS))
    assert client.log == []


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


def test_unsubscribing_what_was_never_subscribed_is_tolerated() -> None:
    client = delta(fleet(1, "a"))
    request = discovery_pb2.DeltaDiscoveryRequest(type_url=EDS, resource_names_unsubscribe=["x"])
    assert client.session.on_request(request) == []


def test_an_empty_wildcard_is_answered_once() -> None:
    client = delta(Snapshot(1, []))
    client.take(client.request(CDS))
    assert client.log == [(CDS, (), ())]
    client.take(client.session.on_snapshot(Snapshot(2, [])))
    assert len(client.log) == 1


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
