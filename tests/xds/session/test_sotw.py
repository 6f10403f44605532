"""State of the world: full states, names that are all that is wanted, and returning clients."""

from __future__ import annotations

from control_plane.names import CDS, EDS, LDS, RDS
from tests.xds.session.envoy_model import boot, wanted
from tests.xds.session.scripts import fleet, sotw


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


def test_09_state_of_the_world_puts_the_last_good_one_in_for_what_was_refused() -> None:
    client = sotw(fleet(1, "ab"))
    boot(client)
    client.refuses_bodies = {b"bad"}
    client.take(client.session.on_snapshot(fleet(2, "ab", a=b"bad")))
    client.take(client.session.on_snapshot(fleet(3, "ab", a=b"bad", b=b"new")))
    assert client.has[CDS] == {"a": b"c", "b": b"new"}


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


def test_a_stale_nonce_is_ignored_in_state_of_the_world() -> None:
    client = sotw(fleet(1, "a"))
    (response,) = client.request(CDS)
    assert client.request(CDS, nonce="stale") == []
    client.take([response])
    assert client.has[CDS].keys() == {"a"}


def test_state_of_the_world_once_a_name_was_given_an_empty_list_is_no_wildcard() -> None:
    client = sotw(fleet(1, "ab"))
    client.take(client.request(CDS, "a"))
    client.names[CDS] = set()
    client.take(client.request(CDS))
    client.log.clear()
    client.take(client.session.on_snapshot(fleet(2, "abc", a=b"new")))
    assert client.log == []


def test_state_of_the_world_reconnect_with_the_same_version_sends_no_clusters() -> None:
    snapshot = fleet(1, "ab")
    first = sotw(snapshot)
    boot(first)
    again = sotw(snapshot)
    again.versions = dict(first.versions)
    assert again.request(CDS) == []
    assert again.request(LDS) == []


def test_state_of_the_world_a_client_that_comes_before_what_it_runs_is_sent_nothing() -> None:
    snapshot = fleet(2, "ab", routes=b"new")
    first = sotw(snapshot)
    boot(first)
    again = sotw(fleet(1, "abc"))
    again.versions = dict(first.versions)
    again.session.await_confirmation()
    assert again.request(CDS) == []
    assert again.request(LDS) == []
    assert again.session.on_snapshot(snapshot) == []
    assert again.session.confirmed() == []
    (response,) = again.session.on_snapshot(fleet(3, "ab", a=b"other", routes=b"new"))
    assert response.type_url == CDS


def test_state_of_the_world_answers_a_new_name_even_if_nothing_changed() -> None:
    client = sotw(fleet(1, "ab"))
    client.take(client.request(EDS, "a"))
    client.take(client.request(EDS, "b"))
    assert client.has[EDS].keys() == {"a", "b"}


def test_state_of_the_world_a_wildcard_that_comes_back_gets_everything_again() -> None:
    client = sotw(fleet(1, "abc"))
    client.take(client.request(CDS))
    client.names[CDS] = {"a"}
    client.take(client.request(CDS))
    client.log.clear()
    client.names[CDS] = {"*", "a"}
    client.take(client.request(CDS))
    assert client.log[0] == (CDS, 3)
