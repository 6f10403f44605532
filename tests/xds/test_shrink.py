"""What is never taken away without an operator's word."""

from __future__ import annotations

import pytest

from control_plane.names import CDS, CLASSIFIER_CLUSTER, ECDS, EDS, LDS, RDS, cell_cluster
from control_plane.xds.resource import Resource
from control_plane.xds.shrink import counted, shrink_reason
from control_plane.xds.snapshot import Snapshot
from control_plane.xds.snapshot_cache import SnapshotCache, SuspiciousShrink


@pytest.mark.parametrize("type_url", [CDS, LDS, RDS])
@pytest.mark.parametrize("before", [1, 2, 3, 1000])
def test_nothing_that_an_envoy_serves_by_goes_as_a_whole(type_url: str, before: int) -> None:
    assert f"of which there are {before}" in shrink_reason({type_url: (before, 0)})
    assert not shrink_reason({type_url: (0, 0)})
    assert not shrink_reason({type_url: (0, before)})


@pytest.mark.parametrize("type_url", [EDS, ECDS])
def test_what_has_another_in_its_place_may_go(type_url: str) -> None:
    assert not shrink_reason({type_url: (3, 0)})


@pytest.mark.parametrize(("before", "after", "refused"), [
    (4, 2, False), (4, 1, True), (10, 5, False), (10, 4, True), (3, 1, False), (2, 1, False),
])  # fmt: skip
def test_of_many_clusters_most_stay(before: int, after: int, refused: bool) -> None:
    assert bool(shrink_reason({CDS: (before, after)})) is refused
    assert not shrink_reason({LDS: (before, after)})


def test_the_classifiers_cluster_is_no_cell() -> None:
    assert counted(CDS, [CLASSIFIER_CLUSTER, cell_cluster("a")]) == 1
    assert counted(CDS, [CLASSIFIER_CLUSTER]) == 0
    assert counted(LDS, ["cellway:edge"]) == 1


@pytest.mark.parametrize("cells", [1, 2, 5])
@pytest.mark.parametrize("left", [(), (LDS,), (LDS, RDS), (LDS, RDS, CDS)])
def test_an_empty_topology_is_not_published(cells: int, left: tuple[str, ...]) -> None:
    """Without anything, and with a ruleset but no cell."""
    own = [Resource.of(url, "cellway:own", b"x") for url in (LDS, RDS, CDS)]
    some = [Resource.of(CDS, cell_cluster(f"c{number}"), b"x") for number in range(cells)]
    cache = SnapshotCache()
    cache.set(Snapshot(1, [*own, *some]))
    emptied = Snapshot(2, [one for one in own if one.type_url in left])
    with pytest.raises(SuspiciousShrink):
        cache.set(emptied)
    assert cache.newest.revision == 1
    assert cache.set(emptied, force=True)
    # Nothing is there any more that could go.
    assert cache.set(Snapshot(3, ()), force=bool(left))
