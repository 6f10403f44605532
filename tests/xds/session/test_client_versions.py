"""What clients share must not show: `Held` is a dict, whatever it is kept over."""

from __future__ import annotations

import gc
import weakref

from envoy.service.discovery.v3 import discovery_pb2
from hypothesis import given
from hypothesis import strategies as st

from control_plane.names import CDS
from control_plane.xds.resource import Resource
from control_plane.xds.server.delta_request import (
    LightRequest,
    as_light,
    entry,
    named_versions,
    parsed,
)
from control_plane.xds.session.client_versions import Held
from control_plane.xds.snapshot import Snapshot

names = st.sampled_from("abcd")
versions = st.sampled_from(["1", "2", ""])
mappings = st.dictionaries(names, versions)
steps = st.one_of(
    st.tuples(st.just("set"), names, versions),
    st.tuples(st.just("pop"), names, versions),
    st.tuples(st.just("rebase"), names, mappings),
)


@given(mappings, mappings, st.lists(steps, max_size=12))
def test_it_is_a_dict(held: dict[str, str], base: dict[str, str], history: list[tuple]) -> None:  # type: ignore[type-arg]
    made = Held.of(held, base)
    model = dict(held)
    for what, name, given_ in history:
        if what == "set":
            made[name] = model[name] = given_
        elif what == "pop":
            assert made.pop(name, None) == model.pop(name, None)
        else:
            changed = {n for n in {*base, *given_} if base.get(n) != given_.get(n)}
            made.rebase(given_, changed)
            base = given_
        assert dict(made) == model
        assert (len(made), bool(made)) == (len(model), bool(model))
        assert [n for n in "abcd" if n in made] == [n for n in "abcd" if n in model]
        unlike = {n for n in "abcd" if model.get(n) != base.get(n)}
        assert unlike <= made.unlike(frozenset("abcd"), base)
    assert dict(made.copy()) == model


@given(mappings, mappings)
def test_versions_read_from_the_wire_are_those_of_the_message(
    says: dict[str, str], known: dict[str, str]
) -> None:
    request = discovery_pb2.DeltaDiscoveryRequest(
        type_url=CDS, response_nonce="7", initial_resource_versions=says
    )
    light = as_light(request)
    assert isinstance(light, LightRequest)
    assert (light.type_url, light.response_nonce) == (CDS, "7")
    entries = frozenset(entry(name, version) for name, version in known.items())
    assert named_versions(light, entries, known) == says


def test_an_entry_in_another_order_or_without_its_value_is_read_too() -> None:
    assert parsed(b"\x12\x01v\x0a\x01k") == ("k", "v")
    assert parsed(b"\x0a\x01k") == ("k", "")


shapes = st.dictionaries(names, st.sampled_from([b"1", b"2"]))


@given(shapes, shapes)
def test_an_altered_snapshot_is_as_one_made_anew(
    before: dict[str, bytes], after: dict[str, bytes]
) -> None:
    old = Snapshot(1, [Resource.of(CDS, name, body) for name, body in before.items()])
    put = [Resource.of(CDS, name, body) for name, body in after.items()]
    anew = Snapshot(2, put)
    altered = old.altered(2, put, [(CDS, name) for name in before.keys() - after.keys()])
    assert altered.of_type(CDS) == anew.of_type(CDS)
    assert altered.types == anew.types
    assert altered.bytes_by_type == anew.bytes_by_type
    wanted = {n for n in {*before, *after} if before.get(n) != after.get(n)}
    assert altered.changed(old).get(CDS, frozenset()) == wanted
    assert anew.changed(old).get(CDS, frozenset()) == wanted


def test_snapshots_that_nobody_runs_are_forgotten() -> None:
    snapshot = Snapshot(1, [Resource.of(CDS, "a", b"")])
    first = weakref.ref(snapshot)
    for revision in range(2, 5):
        later = snapshot.altered(revision, [Resource.of(CDS, "a", str(revision).encode())], ())
        assert later.changed(snapshot) == {CDS: {"a"}}
        snapshot = later
    gc.collect()
    assert first() is None
