"""What the publisher makes of a commit: with the edge cache on, a move changes the epochs alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.compiler.epochs import EPOCHS_FILTER
from control_plane.compiler.model import TrafficPolicy
from control_plane.publish import Publisher
from control_plane.topology.model import ClaimSpec
from control_plane.topology.operations import Subject
from control_plane.topology.service import Topology
from control_plane.xds.cache import SnapshotCache
from control_plane.xds.resource import ECDS
from control_plane.xds.snapshot import Snapshot
from tests.plane import add_cell, route_all


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    made = Topology.open(f"sqlite:///{tmp_path}/p.db")
    for number in (1, 2):
        add_cell(made, f"cell-{number}")
    route_all(made)
    made.claim([ClaimSpec("route", "a", "cell-1", subject="s")], actor="t")
    yield made
    made.close()


def publishing(topology: Topology, cache: SnapshotCache, *, edge_cache: bool) -> Publisher:
    return Publisher(
        topology,
        cache,
        TrafficPolicy(),
        poll_interval_s=1,
        edge_cache=edge_cache,
        on_published=lambda _, __: None,
    )


def changed(new: Snapshot, old: Snapshot) -> dict[str, frozenset[str]]:
    return {kind: names for kind, names in new.changed(old).items() if names}


def test_only_a_change_of_owner_changes_something_and_that_is_the_epochs(
    topology: Topology,
) -> None:
    cache = SnapshotCache()
    publisher = publishing(topology, cache, edge_cache=True)
    publisher.publish()
    first = cache.get("")
    assert EPOCHS_FILTER in first.of_type(ECDS)
    topology.claim([ClaimSpec("route", "b", "cell-1")], actor="t")
    publisher.publish()
    second = cache.get("")
    assert second.revision > first.revision
    assert changed(second, first) == {}
    topology.transfer(Subject(text="s"), "cell-1", "cell-2", reason="r", actor="t")
    publisher.publish()
    third = cache.get("")
    assert changed(third, second) == {ECDS: frozenset({EPOCHS_FILTER})}
    assert f":{third.revision}".encode() in third.of_type(ECDS)[EPOCHS_FILTER].body
    fresh = SnapshotCache()
    publishing(topology, fresh, edge_cache=True).publish()
    assert changed(fresh.get(""), third) == {}, "a restarted publisher makes the same"


def test_without_the_edge_cache_there_are_no_epochs(topology: Topology) -> None:
    cache = SnapshotCache()
    publisher = publishing(topology, cache, edge_cache=False)
    publisher.publish()
    first = cache.get("")
    assert EPOCHS_FILTER not in first.of_type(ECDS)
    topology.transfer(Subject(text="s"), "cell-1", "cell-2", reason="r", actor="t")
    publisher.publish()
    assert changed(cache.get(""), first) == {}
