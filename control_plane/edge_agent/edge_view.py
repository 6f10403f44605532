"""What an Envoy holds of its clusters, kept up to date with as few questions as possible. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from envoy.config.core.v3 import health_check_pb2

from control_plane.edge_agent.admin import Cluster

WARM_S = 5.0
"""How long a cluster may be without any endpoint before that is news: a name is being resolved."""
REREAD_S = 30.0
"""How often everything is asked for, whatever the gauges say."""
MAX_ASKED = 100
"""If more clusters may have changed, everything is asked for."""


class EdgeView:
    """All clusters of one Envoy as last read, and the gauges as of then."""

    def __init__(self) -> None:
        self._clusters: dict[str, Cluster] = {}
        self._gauges: dict[str, tuple[int | None, int | None]] = {}
        self._empty_since: dict[str, float] = {}
        self._reread_at = 0.0
        self._told: dict[str, Cluster] = {}

    def to_ask(self, gauges: Mapping[str, int], now: float) -> frozenset[str] | None:
        """The clusters that may have changed since they were read; None: ask for all.

        Those that are not known, because they are still warming, are called as in stats.
        """
        seen = {
            name.removeprefix("cluster.").removesuffix(".membership_total")
            for name in gauges
            if name.endswith(".membership_total")
        }
        names = {cluster.stats_name: name for name, cluster in self._clusters.items()}
        if now >= self._reread_at or not names.keys() <= seen:
            return None
        before, self._gauges = self._gauges, self._members(gauges, seen)
        asked = {
            names.get(stats, stats)
            for stats, members in self._gauges.items()
            if stats not in names or before.get(stats) != members
        }
        asked |= {name for name, cluster in self._clusters.items() if _is_unsettled(cluster)}
        return frozenset(asked) if len(asked) <= MAX_ASKED else None

    @staticmethod
    def _members(
        gauges: Mapping[str, int], seen: Iterable[str]
    ) -> dict[str, tuple[int | None, int | None]]:
        return {
            stats: (
                gauges.get(f"cluster.{stats}.membership_healthy"),
                gauges.get(f"cluster.{stats}.membership_total"),
            )
            for stats in seen
        }

    def read(self, clusters: Mapping[str, Cluster], now: float) -> None:
        """Everything was read."""
        self._clusters = dict(clusters)
        self._reread_at = now + REREAD_S
        self._note_empty(now)

    def read_some(self, asked: Iterable[str], clusters: Mapping[str, Cluster], now: float) -> None:
        """Some were read; what was asked for and did not come is gone."""
        for name in asked:
            self._clusters.pop(name, None)
        self._clusters.update(clusters)
        self._note_empty(now)

    def _note_empty(self, now: float) -> None:
        empty = [name for name, cluster in self._clusters.items() if not cluster.endpoints]
        self._empty_since = {name: self._empty_since.get(name, now) for name in empty}

    def news(self, now: float) -> tuple[bool, dict[str, Cluster]]:
        """What has changed since the last call: whether clusters are gone, and if so all that there
        are, else those that are new or different.
        """
        telling = {
            name: cluster
            for name, cluster in self._clusters.items()
            if cluster.dynamic and now - self._empty_since.get(name, now - WARM_S) >= WARM_S
        }
        before, self._told = self._told, telling
        if not before.keys() <= telling.keys():
            return True, telling
        changed = {name: one for name, one in telling.items() if before.get(name) != one}
        return False, changed


def _is_unsettled(cluster: Cluster) -> bool:
    """Whether it may change without its gauges changing: its endpoints are not checked yet."""
    return any(status == health_check_pb2.UNKNOWN for _, _, status in cluster.endpoints)
