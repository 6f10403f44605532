"""Whose report counts: any order of streams, reports, ends and silences, against a plain model."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from control_plane.edge_health import book as module
from control_plane.edge_health.book import Book, Count, ReportStream
from control_plane.edge_health.report import ClusterHealth, EdgeHealth, LimitExceeded

GRACE_S, SILENT_S = 10.0, 30.0
CLUSTERS = st.dictionaries(
    st.sampled_from("abc"),
    st.sampled_from(
        [
            ClusterHealth(1, 0, 1),
            ClusterHealth(0, 0, 1),
            ClusterHealth(0, 0, 0),
            ClusterHealth(0, 1, 1),
            ClusterHealth(2, 0, 3),
        ]
    ),
)


@dataclass
class Stream:
    node: str
    number: int
    said: list[tuple[int, float, dict[str, ClusterHealth]]] = field(default_factory=list)
    """When, counted and by the clock, and what."""
    ended: tuple[int, float] | None = None


class Books(RuleBasedStateMachine):
    """The model keeps everything that was ever said and works out whose report counts at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.told = 0
        self.book = Book(self._tell, grace_s=GRACE_S, silent_s=SILENT_S)
        self.now = 0.0
        self.streams: list[tuple[Stream, ReportStream]] = []
        self.counting: dict[str, Stream] = {}

    def _tell(self) -> None:
        self.told += 1

    @rule(node=st.sampled_from(["n1", "n2", "n3"]))
    def join(self, node: str) -> None:
        reporter = self.book.join("g", node, self.now)
        self.streams.append((Stream(node, len(self.streams)), reporter))

    @precondition(lambda self: any(s.ended is None for s, _ in self.streams))
    @rule(data=st.data(), clusters=CLUSTERS)
    def hear(self, data: st.DataObject, clusters: dict[str, ClusterHealth]) -> None:
        live = [(s, r) for s, r in self.streams if s.ended is None]
        stream, reporter = data.draw(st.sampled_from(live))
        before, told = self.expected(), self.told
        self.book.hear(reporter, EdgeHealth(clusters), self.now)
        stream.said.append((0, self.now, clusters))
        counting = self.counting.get(stream.node)
        if counting is None or counting.number <= stream.number or counting.ended is not None:
            self.counting[stream.node] = stream
        if before != self.expected():
            assert self.told > told, "a change is told"

    @precondition(lambda self: any(s.ended is None for s, _ in self.streams))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        live = [(s, r) for s, r in self.streams if s.ended is None]
        stream, reporter = data.draw(st.sampled_from(live))
        self.book.leave(reporter, self.now)
        stream.ended = (0, self.now)

    @rule(seconds=st.sampled_from([0.1, 4.0, 9.9, 10.0, 31.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.book.age(self.now)
        for node, stream in list(self.counting.items()):
            gone = stream.ended is not None and self.now - stream.ended[1] >= GRACE_S
            if gone or self.now - stream.said[-1][1] >= SILENT_S:
                del self.counting[node]

    def expected(self) -> dict[str, Count]:
        counts: dict[str, Count] = {}
        for stream in self.counting.values():
            for name, health in stream.said[-1][2].items():
                if health.reachable is not None:
                    count = counts.setdefault(name, Count())
                    count.up += health.reachable
                    count.down += not health.reachable
                    count.healthy += health.healthy
                    count.total += health.total
        return counts

    @invariant()
    def counts_agree(self) -> None:
        assert self.book.counts == self.expected()
        assert self.book.nodes == self.counting.keys()
        said = sum(len(stream.said[-1][2]) for stream in self.counting.values())
        assert self.book._clusters_of_all == said


Books.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestBooks = Books.TestCase


def test_a_restart_leaves_no_gap() -> None:
    book = Book(grace_s=GRACE_S)
    health = EdgeHealth({"a": ClusterHealth(0, 0, 1)})
    old = book.join("g", "n", 0)
    book.hear(old, health, 0)
    book.leave(old, 1)
    book.age(5)
    assert book.counts == {"a": Count(0, 1, 0, 1)}
    new = book.join("g", "n", 5)
    book.age(10.9)
    book.hear(new, health, 10.9)
    book.age(20)
    assert book.counts == {"a": Count(0, 1, 0, 1)}
    # The end of the old stream is no end of the new.
    book.leave(old, 20)
    book.age(35)
    assert book.nodes == {"n"}


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    book = Book(max_nodes=2)
    first, second = book.join("g", "a", 0), book.join("g", "b", 0)
    with pytest.raises(LimitExceeded):
        book.join("g", "c", 0)
    book.hear(first, EdgeHealth({}), 0)
    book.hear(second, EdgeHealth({}), 0)
    book.leave(first, 0)
    # Its report still counts, and takes the place of another's.
    third = book.join("g", "c", 0)
    with pytest.raises(LimitExceeded):
        book.hear(third, EdgeHealth({}), 0)
    book.age(GRACE_S)
    book.hear(third, EdgeHealth({}), GRACE_S)
    monkeypatch.setattr(module, "MAX_CLUSTERS_OF_ALL", 3)
    book.hear(second, EdgeHealth({"a": ClusterHealth(1, 0, 1), "b": ClusterHealth(1, 0, 1)}), 1)
    with pytest.raises(LimitExceeded):
        book.hear(third, EdgeHealth({"a": ClusterHealth(1, 0, 1), "b": ClusterHealth(1, 0, 1)}), 1)
    book.hear(second, EdgeHealth({"a": ClusterHealth(1, 0, 1)}), 1)
    book.hear(third, EdgeHealth({"a": ClusterHealth(1, 0, 1), "b": ClusterHealth(1, 0, 1)}), 1)
    assert book.counts["a"].up == 2


def test_nodes_that_reach_nothing_of_a_cluster_are_named() -> None:
    book = Book()
    for node, health in (
        ("up", (1, 0, 2)),
        ("down", (0, 0, 2)),
        ("new", (0, 1, 1)),
        ("cut", (0, 0, 1)),
    ):
        clusters = {"a": ClusterHealth(*health)}
        book.hear(book.join("g", node, 0.0), EdgeHealth(clusters), 0.0)
    assert book.nodes_without("a") == ["cut", "down"]
    assert book.nodes_without("b") == []
