"""Whose word counts, and for how long: the reports of all edges, counted by cluster.

A node has one voice, that of the newest stream on which it has said all that it holds. Its word
outlives its stream by a grace, so that neither a control plane nor a reporter that restarts makes
anything flap; a stream that has become silent counts no longer than that of a node that is gone.
Counts are kept up as reports come, so that a decision costs nothing per node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from control_plane.edge_health.report import NOTHING, Held, TooMuch, View

HEARTBEAT_S = 10.0
"""How often an edge that has nothing to tell says so."""
SILENT_S = 3 * HEARTBEAT_S
"""How long the word of a silent stream counts."""
GRACE_S = 10.0
"""How long that of a stream that has ended does."""
MAX_NODES = 10_000
MAX_HELD = 5_000_000
"""Clusters of all nodes together; those that share a view are counted each."""


@dataclass(slots=True)
class Count:
    """What edges hold of one cluster: how many can reach it, how many can't, and its endpoints."""

    up: int = 0
    down: int = 0
    healthy: int = 0
    total: int = 0

    def add(self, held: Held, times: int) -> None:
        """Count an edge in (1) or out (-1)."""
        if held.says is None:
            return
        if held.says:
            self.up += times
        else:
            self.down += times
        self.healthy += times * held.healthy
        self.total += times * held.total

    @property
    def edges(self) -> int:
        """How many have a word."""
        return self.up + self.down


@dataclass(slots=True, eq=False)
class Reporter:
    """One stream of reports. ``number`` tells which of two is newer."""

    number: int
    node: tuple[str, str]
    """Group and id."""
    heard_at: float
    ended_at: float | None = None
    view: View = NOTHING


class Book:
    """The reports of all nodes. For one thread; times are seconds of one monotonic clock."""

    def __init__(
        self,
        on_change: Callable[[], None] = lambda: None,
        *,
        silent_s: float = SILENT_S,
        grace_s: float = GRACE_S,
        max_nodes: int = MAX_NODES,
    ) -> None:
        """``on_change`` is called when a count has changed."""
        self.on_change = on_change
        self._silent_s = silent_s
        self._grace_s = grace_s
        self._max_nodes = max_nodes
        self._numbers = 0
        self._open: set[Reporter] = set()
        self._voices: dict[tuple[str, str], Reporter] = {}
        self._counts: dict[str, Count] = {}
        self._held = 0

    @property
    def counts(self) -> Mapping[str, Count]:
        """By cluster; only those of which some edge has a word."""
        return self._counts

    @property
    def nodes(self) -> frozenset[str]:
        """The ids of the nodes whose word counts."""
        return frozenset(node for _, node in self._voices)

    def join(self, group: str, node: str, now: float) -> Reporter:
        """A stream has said whose it is; raises `TooMuch`."""
        if len(self._open) >= self._max_nodes:
            raise TooMuch(f"{self._max_nodes} nodes report")
        self._numbers += 1
        reporter = Reporter(self._numbers, (group, node), now)
        self._open.add(reporter)
        return reporter

    def hear(self, reporter: Reporter, view: View, now: float) -> None:
        """A stream has said what its node holds now, or that nothing is new; raises `TooMuch`."""
        reporter.heard_at = now
        voice = self._voices.get(reporter.node)
        if voice is not None and voice.number > reporter.number and voice.ended_at is None:
            return
        before = voice.view if voice is not None else NOTHING
        if voice is None and len(self._voices) >= self._max_nodes:
            raise TooMuch(f"the word of {self._max_nodes} nodes counts")
        held = self._held + len(view.clusters) - len(before.clusters)
        if held > MAX_HELD:
            raise TooMuch(f"all nodes together hold {held} clusters; at most {MAX_HELD}")
        self._held = held
        self._voices[reporter.node] = reporter
        reporter.view = view
        self._replace(before, view)

    def leave(self, reporter: Reporter, now: float) -> None:
        """A stream has ended."""
        self._open.discard(reporter)
        reporter.ended_at = now

    def age(self, now: float) -> None:
        """Forget the word of those that are silent or gone for too long."""
        for voice in [one for one in self._voices.values() if self._is_old(one, now)]:
            del self._voices[voice.node]
            self._held -= len(voice.view.clusters)
            self._replace(voice.view, NOTHING)

    def _is_old(self, voice: Reporter, now: float) -> bool:
        gone = voice.ended_at is not None and now - voice.ended_at >= self._grace_s
        return gone or now - voice.heard_at >= self._silent_s

    def _replace(self, before: View, after: View) -> None:
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


def _differences(before: View, after: View) -> Iterator[tuple[str, Held | None, Held | None]]:
    old, new = before.clusters, after.clusters
    for name, held in old.items():
        if (now := new.get(name)) != held:
            yield name, held, now
    for name, held in new.items():
        if name not in old:
            yield name, None, held
