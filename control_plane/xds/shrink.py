"""When a snapshot has lost so much that the topology behind it is not believed.

The problem: a control plane that starts over an empty database (a wrong URL, a disk that was lost)
knows no cell and no ruleset. If it published that, it would take every listener from a fleet that
serves well. No number of cells is small enough to make that right, so a type that becomes empty
needs an operator's word (``force_shrink``) at any size. So does the loss of most of many clusters.

Example: of 10 clusters of cells 5 may go at once, but not 6; of 3 clusters 2 may, but not 3.

The rule is applied in two places. `SnapshotCache` compares a new snapshot with the one that this
process published before. A session compares the snapshot with what its client says that it has,
because a process that is new has published nothing before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from control_plane.names import CDS, LDS, OWN_CLUSTERS, RDS

GUARDED = {CDS: "clusters of cells", LDS: "listeners", RDS: "route tables"}
"""The types that an Envoy serves by. Others may all go, as endpoints do when names replace them."""
GUARDED_CLUSTERS = 4
"""From this many clusters of cells on, most of them may not go at once."""
_HINT = "mend the topology, or restart with --force-shrink if that is meant"


def counted(type_url: str, names: Iterable[str]) -> int:
    """Return how many resources of a guarded type count; of clusters, only those of cells do."""
    if type_url == CDS:
        return sum(not name.startswith(OWN_CLUSTERS) for name in names)
    return sum(1 for _ in names)


def shrink_reason(counts: Mapping[str, tuple[int, int]], clusters_left: int | None = None) -> str:
    """Return why a change needs an operator's word; empty if it does not.

    Args:
        counts: By guarded type, how many resources count now and how many would count after the
            change. A client that says only that it has some counts as having 1.
        clusters_left: How many of the present clusters would stay, if that is known. Without it,
            each cluster that there would be counts as one that stays.
    """
    for type_url, noun in GUARDED.items():
        before, after = counts.get(type_url, (0, 0))
        if before and not after:
            return f"all {noun} (of which there are {before}) would go: {_HINT}"
    before, after = counts.get(CDS, (0, 0))
    remaining = after if clusters_left is None else clusters_left
    if before >= GUARDED_CLUSTERS and remaining * 2 < before:
        return f"of {before} {GUARDED[CDS]} {remaining} would be left: {_HINT}"
    return ""
