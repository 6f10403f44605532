"""The reports of all edges, counted by cluster: whose report counts, and for how long.

The problem: a node may have several streams at once, since a reporter that restarts opens a new one
before the old one is known to have ended; and a control plane or a reporter that restarts must not
make cells look down for a moment. The rules:

- Of each node one report counts: that of the newest stream on which it has reported.
- It counts on for a grace after its stream has ended, so that a restart leaves no gap.
- It counts no longer than `SILENT_S` without a message, so that a dead connection does not count.

The counts are kept up to date as reports come, so that a decision costs nothing for each node.
Example, of cluster a: three edges reach it and one does not →
``Count(up=3, down=1, healthy=…, total=…)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from control_plane.edge_health.report import (
    NO_CLUSTERS,
    ClusterHealth,
    EdgeHealth,
    LimitExceeded,
)

HEARTBEAT_S = 10.0
"""How often an edge reports at least, even if nothing has changed."""
SILENT_S = 3 * HEARTBEAT_S
"""How long the report of a silent stream counts."""
GRACE_S = 10.0
"""How long the report of a stream that has ended counts."""
MAX_NODES = 10_000
MAX_CLUSTERS_OF_ALL = 5_000_000
"""Clusters of all nodes together, whether they share an `EdgeHealth` or not."""


@dataclass(slots=True)
class Count:
    """How many edges can reach one cluster and how many can't, and their endpoints of it."""

    up: int = 0
    down: int = 0
    healthy: int = 0
    total: int = 0

    def add(self, health: ClusterHealth, sign: int) -> None:
        """Count an edge in (1) or out (-1), unless it does not know the cluster's health yet."""
        if health.reachable is None:
            return
        if health.reachable:
            self.up += sign
        else:
            self.down += sign
        self.healthy += sign * health.healthy
        self.total += sign * health.total

    @property
    def edges(self) -> int:
        """How many edges are counted."""
        return self.up + self.down


@dataclass(slots=True, eq=False)
class ReportStream:
    """One stream of reports."""

    number: int
    """The newer of two streams has the higher one."""
    node: tuple[str, str]
    """Group and id."""
    heard_at: float
    ended_at: float | None = None
    health: EdgeHealth = NO_CLUSTERS


class Book:
    """The reports of all nodes. For one thread; times are in seconds of one monotonic clock."""

    def __init__(
        self,
        on_change: Callable[[], None] = lambda: None,
        *,
        silent_s: float = SILENT_S,
        grace_s: float = GRACE_S,
        max_nodes: int = MAX_NODES,
    ) -> None:
        """Count nobody yet.

        Args:
            on_change: Called when a count has changed.
            silent_s: How long the report of a silent stream counts.
            grace_s: How long the report of a stream that has ended counts.
            max_nodes: How many streams may be open, and how many nodes may count.
        """
        self.on_change = on_change
        self._silent_s = silent_s
        self._grace_s = grace_s
        self._max_nodes = max_nodes
        self._newest_number = 0
        self._open: set[ReportStream] = set()
        self._counting: dict[tuple[str, str], ReportStream] = {}
        """By node, the stream whose report counts."""
        self._counts: dict[str, Count] = {}
        self._clusters_of_all = 0

    @property
    def counts(self) -> Mapping[str, Count]:
        """The counts by cluster, of clusters whose health some edge knows."""
        return self._counts

    def counts_under(self, prefix: str) -> dict[str, Count]:
        """Return the counts of clusters with a prefix, by the rest of the cluster's name."""
        return {
            cluster.removeprefix(prefix): count
            for cluster, count in self._counts.items()
            if cluster.startswith(prefix)
        }

    @property
    def nodes(self) -> frozenset[str]:
        """The ids of the nodes whose reports count."""
        return frozenset(node for _, node in self._counting)

    def nodes_without(self, cluster: str) -> list[str]:
        """Return the ids of the nodes that can't reach a cluster, in order."""
        held = (
            (node, one.health.clusters.get(cluster)) for (_, node), one in self._counting.items()
        )
        return sorted(node for node, health in held if health and health.reachable is False)

    def join(self, group: str, node: str, now: float) -> ReportStream:
        """Record that a stream has named its node.

        Raises:
            LimitExceeded: Too many streams are open.
        """
        if len(self._open) >= self._max_nodes:
            raise LimitExceeded(f"{self._max_nodes} streams of reports are open already")
        self._newest_number += 1
        stream = ReportStream(self._newest_number, (group, node), now)
        self._open.add(stream)
        return stream

    def hear(self, stream: ReportStream, health: EdgeHealth, now: float) -> None:
        """Record what a stream's node holds now, which may be what it held before.

        Raises:
            LimitExceeded: Too many nodes count, or all of them hold too many clusters.
        """
        stream.heard_at = now
        counting = self._counting.get(stream.node)
        if counting is not None and counting.number > stream.number and counting.ended_at is None:
            return
        before = counting.health if counting is not None else NO_CLUSTERS
        if counting is None and len(self._counting) >= self._max_nodes:
            raise LimitExceeded(f"{self._max_nodes} nodes are counted already")
        clusters = self._clusters_of_all + len(health.clusters) - len(before.clusters)
        if clusters > MAX_CLUSTERS_OF_ALL:
            raise LimitExceeded(
                f"all nodes together hold {clusters} clusters; at most {MAX_CLUSTERS_OF_ALL}"
            )
        self._clusters_of_all = clusters
        self._counting[stream.node] = stream
        stream.health = health
        self._replace(before, health)

    def leave(self, stream: ReportStream, now: float) -> None:
        """Record that a stream has ended."""
        self._open.discard(stream)
        stream.ended_at = now

    def age(self, now: float) -> None:
        """Stop counting nodes that have been silent, or without a stream, for too long."""
        for stream in [one for one in self._counting.values() if self._is_old(one, now)]:
            del self._counting[stream.node]
            self._clusters_of_all -= len(stream.health.clusters)
            self._replace(stream.health, NO_CLUSTERS)

    def _is_old(self, stream: ReportStream, now: float) -> bool:
        ended = stream.ended_at is not None and now - stream.ended_at >= self._grace_s
        return ended or now - stream.heard_at >= self._silent_s

    def _replace(self, before: EdgeHealth, after: EdgeHealth) -> None:
        """Count what one node holds after a report instead of what it held before."""
        if before is after:
            return
        changed = False
        for name, old, new in _differences(before, after):
            count = self._counts.setdefault(name, Count())
            if old is not None:
                count.add(old, -1)
            if new is not None:
                count.add(new, 1)
            if not count.edges:
                del self._counts[name]
            changed = True
        if changed:
            self.on_change()


def _differences(
    before: EdgeHealth, after: EdgeHealth
) -> Iterator[tuple[str, ClusterHealth | None, ClusterHealth | None]]:
    """Yield each cluster that differs, with its health before and after."""
    old, new = before.clusters, after.clusters
    for name, health in old.items():
        if (current := new.get(name)) != health:
            yield name, health, current
    for name, health in new.items():
        if name not in old:
            yield name, None, health
