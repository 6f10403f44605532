"""A snapshot that is altered is as one that is made anew, and what changed is told."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.names import CDS
from control_plane.xds.resource import Resource
from control_plane.xds.snapshot import Snapshot
from tests.xds.session.scripts import res

names = st.sampled_from("abcd")


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


def test_12_versions_are_content_so_a_restarted_server_says_the_same() -> None:
    assert res(CDS, "a", b"x").version == res(CDS, "a", b"x").version
    assert res(CDS, "a", b"x").version != res(CDS, "a", b"y").version


def test_a_name_that_stands_twice_in_a_snapshot_is_refused() -> None:
    with pytest.raises(ValueError, match="stands twice"):
        Snapshot(1, [res(CDS, "a"), res(CDS, "a", b"2")])
