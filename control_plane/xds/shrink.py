"""When a topology that has lost too much is not believed, and nothing is taken away by it.

The problem: a control plane that starts over an empty database, by a wrong URL or after a disk was
lost, knows of no cell and no ruleset. Published as it is, that takes every listener from a fleet
that serves well. No number of cells is small enough for that to be right: a fleet of one cell is
lost as a fleet of a thousand is. So what is empty needs an operator's word (``force_shrink``)
whatever the size, and of many clusters most need it too.

The rule is asked in two places: by the cache, which compares with what this process has published
before, and by a session, which compares with what a client says that it has, since a new process
has published nothing before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from control_plane.names import CDS, LDS, OWN_CLUSTERS, RDS
from control_plane.xds.resource import SHRINK_GUARD_FROM

GUARDED = {CDS: "clusters of cells", LDS: "listeners", RDS: "route tables"}
"""The types that an Envoy serves by; others may all go, as endpoints do where names take over."""


def counted(type_url: str, names: Iterable[str]) -> int:
    """Return how many resources of a guarded type count: of clusters, those of cells only."""
    if type_url == CDS:
        return sum(not name.startswith(OWN_CLUSTERS) for name in names)
    return sum(1 for _ in names)


def refusal(counts: Mapping[str, tuple[int, int]], kept: int | None = None) -> str:
    """Return why a change needs an operator's word; empty if it does not.

    Args:
        counts: By type, how many resources there are, and how many of a newer snapshot would be in
            their place, each by `counted`. A client that only says that it has some has 1.
        kept: How many of the clusters would stay, where others may take the place of those that
            go; None: as many as there would be.
    """
    for type_url, noun in GUARDED.items():
        before, after = counts.get(type_url, (0, 0))
        if before and not after:
            return f"all {noun} (of which there are {before}) would go: {_MEND}"
    before, after = counts.get(CDS, (0, 0))
    after = after if kept is None else kept
    if before >= SHRINK_GUARD_FROM and after * 2 < before:
        return f"of {before} {GUARDED[CDS]} {after} would be left: {_MEND}"
    return ""


_MEND = "mend the topology, or restart with --force-shrink if that is meant"
