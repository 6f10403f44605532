"""Newer never loses to older, and a shrunk snapshot is not believed."""

from __future__ import annotations

import pytest
from envoy.service.discovery.v3 import discovery_pb2

from control_plane.names import CDS, LDS
from control_plane.xds.resource import Resource
from control_plane.xds.server.transport import MAX_SENT_BYTES
from control_plane.xds.session.delta import DeltaSession, delta_bytes
from control_plane.xds.snapshot import Snapshot
from control_plane.xds.snapshot_cache import (
    MAX_RESPONSE_BYTES,
    OverSize,
    SnapshotCache,
    StaleRevision,
    SuspiciousShrink,
)


def clusters(revision: int, count: int, body: bytes = b"x") -> Snapshot:
    return Snapshot(revision, [Resource.of(CDS, f"c{i}", body) for i in range(count)])


def test_an_older_revision_never_replaces_a_newer_one() -> None:
    cache = SnapshotCache()
    cache.set(clusters(5, 2))
    with pytest.raises(StaleRevision):
        cache.set(clusters(4, 3), force=True)
    assert cache.newest.revision == 5


def test_a_revision_can_not_have_two_contents() -> None:
    cache = SnapshotCache()
    cache.set(clusters(5, 2))
    assert cache.set(clusters(5, 2)) is False
    with pytest.raises(StaleRevision):
        cache.set(clusters(5, 2, b"other"))


@pytest.mark.parametrize(("before", "after"), [(4, 1), (10, 4), (1, 0)])
def test_a_snapshot_that_lost_most_is_refused_unless_forced(before: int, after: int) -> None:
    cache = SnapshotCache()
    cache.set(clusters(1, before))
    with pytest.raises(SuspiciousShrink):
        cache.set(clusters(2, after))
    assert cache.newest.revision == 1
    cache.set(clusters(2, after), force=True)
    assert cache.newest.revision == 2


@pytest.mark.parametrize(("before", "after"), [(3, 1), (10, 5), (4, 2)])
def test_an_ordinary_shrink_passes(before: int, after: int) -> None:
    cache = SnapshotCache()
    cache.set(clusters(1, before))
    assert cache.set(clusters(2, after))


def test_watchers_are_woken_until_they_stop() -> None:
    cache, woken = SnapshotCache(), []
    stop = cache.watch(lambda: woken.append(1))
    cache.set(clusters(1, 1))
    stop()
    cache.set(clusters(2, 1))
    assert woken == [1]


def test_a_name_stands_once_in_a_snapshot() -> None:
    with pytest.raises(ValueError, match="twice"):
        Snapshot(1, [Resource.of(CDS, "a", b"1"), Resource.of(CDS, "a", b"2")])


def test_15_a_type_that_does_not_fit_into_a_response_is_refused_and_the_last_one_stays() -> None:
    cache = SnapshotCache(max_response_bytes=1000)
    cache.set(clusters(1, 3))
    with pytest.raises(OverSize, match=r"Cluster are .* bytes; a response holds 1000"):
        cache.set(clusters(2, 3, b"x" * 500), force=True)
    assert cache.newest.revision == 1
    cache.set(clusters(3, 3))
    assert cache.newest.revision == 3


def test_15_what_the_cache_lets_through_fits_into_a_response() -> None:
    snapshot = clusters(1, 300, b"x" * 200)
    session = DeltaSession()
    session.on_snapshot(snapshot)
    (response,) = session.on_request(discovery_pb2.DeltaDiscoveryRequest(type_url=CDS))
    overhead = 300
    assert len(delta_bytes(response)) <= snapshot.bytes_by_type[CDS] + overhead
    assert MAX_RESPONSE_BYTES + overhead < MAX_SENT_BYTES


def test_variants_have_the_guards_of_the_plain_snapshot() -> None:
    cache = SnapshotCache(max_response_bytes=1000)
    small = Snapshot(1, [Resource.of(LDS, "edge", b"")])
    cache.set(small, {"module": small})
    assert cache.newest_of("module") is small
    later = small.at(2)
    with pytest.raises(SuspiciousShrink):
        cache.set(later, {"module": Snapshot(2, ())})
    with pytest.raises(OverSize):
        cache.set(later, {"module": Snapshot(2, [Resource.of(LDS, "edge", bytes(1001))])})
    assert (cache.newest, cache.newest_of("module")) == (small, small)


def test_a_variant_may_come_after_its_snapshot_which_stays_the_same_object() -> None:
    cache = SnapshotCache()
    made: list[frozenset[str]] = []
    cache.make_with(lambda: made.append(cache.wanted))
    first = Snapshot(1, [Resource.of(LDS, "edge", b"")])
    cache.set(first)
    for _ in range(2):
        cache.want("module")
    assert made == [frozenset({"module"})]
    assert cache.is_coming("module")
    assert cache.newest_of("module") is first
    own = first.altered(1, [Resource.of(LDS, "edge", b"\n\x01m")], ())
    assert cache.set(Snapshot(1, [Resource.of(LDS, "edge", b"")]), {"module": own})
    assert (cache.newest, cache.newest_of("module")) == (first, own)
    assert not cache.is_coming("module")
    assert not cache.set(first, {"module": own})
