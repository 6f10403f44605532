"""The variant for Envoys with the module: made when a node wants it, at the same revision."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct

from control_plane.compiler.model import TrafficPolicy
from control_plane.names import (
    CDS,
    ECDS,
    EPOCHS_FILTER,
    LDS,
    MAP_EPOCHS_FILTER,
    MODULE_VARIANT,
    RDS,
)
from control_plane.publisher.edge_snapshots import EdgeSnapshots
from control_plane.publisher.publisher import Publisher
from control_plane.publisher.variants import plain_snapshot, variant_of
from control_plane.topology import Subject, Topology
from control_plane.topology.values.change import TopologySnapshot
from control_plane.topology.values.claim import ClaimSpec
from control_plane.xds.snapshot import Snapshot
from control_plane.xds.snapshot_cache import SnapshotCache
from control_plane.xds.variants import PLAIN, NodeFacts
from tests.support.plane import add_cell

PATIENT_S = 20.0


def publishing(topology: Topology, cache: SnapshotCache) -> tuple[Publisher, list[int]]:
    published: list[int] = []
    publisher = Publisher(
        topology,
        cache,
        TrafficPolicy(),
        poll_interval_s=0.05,
        on_published=lambda revision, _: published.append(revision),
    )
    publisher.publish()
    return publisher, published


def differing(one: Snapshot, other: Snapshot) -> dict[str, set[str]]:
    return {kind: set(names) for kind, names in one.changed(other).items() if names}


OWN = {LDS: {"cellway:edge"}, RDS: {"cellway:routes"}, ECDS: {MAP_EPOCHS_FILTER}}


def test_only_a_wanted_variant_is_compiled(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    made = EdgeSnapshots.module_variant

    def counted(*given: Any) -> Snapshot:
        calls.append(given)
        return made(*given)

    monkeypatch.setattr(EdgeSnapshots, "module_variant", counted)
    cache = SnapshotCache()
    publisher, _ = publishing(topology, cache)
    add_cell(topology, "cell-3")
    publisher.publish()
    assert not calls
    cache.want(MODULE_VARIANT)
    publisher.publish()
    assert len(calls) == 1
    assert differing(cache.newest_of(MODULE_VARIANT), cache.newest) == OWN
    # The resources that both have are the same objects.
    variant = cache.newest_of(MODULE_VARIANT)
    assert variant.resources(CDS) is cache.newest.resources(CDS)


def test_a_variant_that_comes_later_publishes_no_revision_twice(topology: Topology) -> None:
    cache = SnapshotCache()
    publisher, published = publishing(topology, cache)
    plain = cache.newest
    cache.want(MODULE_VARIANT)
    publisher.publish()
    assert (published, cache.newest) == ([plain.revision], plain)
    assert cache.newest_of(MODULE_VARIANT).revision == plain.revision


def test_all_variants_follow_a_move_by_their_epochs_alone(topology: Topology) -> None:
    cache = SnapshotCache()
    publisher, _ = publishing(topology, cache)
    cache.want(MODULE_VARIANT)
    publisher.publish()
    plain, variant = cache.newest, cache.newest_of(MODULE_VARIANT)
    topology.claims.claim([ClaimSpec("route", "b", "cell-1")], actor="t")
    publisher.publish()
    topology.moves.move(Subject(text="s"), "cell-1", "cell-2", reason="r", actor="t")
    publisher.publish()
    later = cache.newest_of(MODULE_VARIANT)
    assert cache.newest.revision == later.revision > plain.revision
    assert differing(cache.newest, plain) == {ECDS: {EPOCHS_FILTER}}
    assert differing(later, variant) == {ECDS: {EPOCHS_FILTER, MAP_EPOCHS_FILTER}}
    fresh = SnapshotCache()
    fresh.want(MODULE_VARIANT)
    publishing(topology, fresh)
    assert differing(fresh.newest_of(MODULE_VARIANT), later) == {}, "a restarted publisher"


def test_a_variant_that_can_not_be_compiled_keeps_nothing_from_the_fleet(
    topology: Topology, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> Snapshot:
        raise ValueError("the program is too long")

    monkeypatch.setattr(EdgeSnapshots, "module_variant", fails)
    cache = SnapshotCache()
    publisher, published = publishing(topology, cache)
    cache.want(MODULE_VARIANT)
    add_cell(topology, "cell-3")
    publisher.publish()
    assert published[-1] == topology.revision()
    assert publisher.alarm is None
    assert not cache.is_coming(MODULE_VARIANT)
    assert cache.newest_of(MODULE_VARIANT) is cache.newest
    assert "the variant module of revision" in caplog.text
    monkeypatch.undo()
    add_cell(topology, "cell-4")
    publisher.publish()
    assert differing(cache.newest_of(MODULE_VARIANT), cache.newest) == OWN


async def test_a_running_publisher_makes_a_variant_whenever_it_is_wanted(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = SnapshotCache()
    publisher, published = publishing(topology, cache)
    loop, compile_state = asyncio.get_running_loop(), EdgeSnapshots.of

    def compiled(snapshots: EdgeSnapshots, state: TopologySnapshot) -> Snapshot:
        # A node comes while the publisher compiles.
        loop.call_soon_threadsafe(cache.want, MODULE_VARIANT)
        return compile_state(snapshots, state)

    monkeypatch.setattr(EdgeSnapshots, "of", compiled)
    came = asyncio.Event()
    cache.watch(came.set)
    running = asyncio.create_task(publisher.run())
    try:
        add_cell(topology, "cell-3")
        async with asyncio.timeout(PATIENT_S):
            while not cache.wanted or cache.is_coming(MODULE_VARIANT):
                await came.wait()
                came.clear()
        assert published[-1] == topology.revision()
        assert differing(cache.newest_of(MODULE_VARIANT), cache.newest) == OWN
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_the_plain_snapshot_of_a_variant_has_the_plain_versions(topology: Topology) -> None:
    cache = SnapshotCache()
    publisher, _ = publishing(topology, cache)
    cache.want(MODULE_VARIANT)
    publisher.publish()
    plain = plain_snapshot(cache.newest_of(MODULE_VARIANT))
    assert plain.same_content(cache.newest)
    assert plain.revision == cache.newest.revision
    assert plain_snapshot(cache.newest) is cache.newest


@pytest.mark.parametrize(
    ("version", "metadata", "variant"),
    [
        ("1.40.0", {"cellway": {"edge_module": "v1"}}, MODULE_VARIANT),
        ("1.40.7", {"cellway": {"edge_module": "v1", "file": "/x"}, "other": 1}, MODULE_VARIANT),
        ("1.41.0", {"cellway": {"edge_module": "v1"}}, PLAIN),
        ("1.39.3", {"cellway": {"edge_module": "v1"}}, PLAIN),
        ("1.4.0", {"cellway": {"edge_module": "v1"}}, PLAIN),
        ("0.0.0", {"cellway": {"edge_module": "v1"}}, PLAIN),
        ("1.40.0", {"cellway": {"edge_module": "v2"}}, PLAIN),
        ("1.40.0", {"cellway": {"edge_module": True}}, PLAIN),
        ("1.40.0", {"cellway": "edge_module"}, PLAIN),
        ("1.40.0", {"edge_module": "v1"}, PLAIN),
        ("1.40.0", {}, PLAIN),
    ],
)
def test_only_nodes_with_the_module_and_a_tried_envoy_get_the_variant(
    version: str, metadata: dict[str, Any], variant: str
) -> None:
    struct = Struct()
    struct.update(metadata)
    before = struct.SerializeToString(deterministic=True)
    assert variant_of(NodeFacts("n1", "edge", version, struct)) == variant
    # Reading must not write: protobuf's maps make what is looked for.
    assert struct.SerializeToString(deterministic=True) == before
