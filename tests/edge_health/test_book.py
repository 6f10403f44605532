"""Whose word counts: any order of streams, reports, ends and silences, against a plain model."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from control_plane.edge_health import book as module
from control_plane.edge_health.book import Book, Count, Reporter
from control_plane.edge_health.report import Held, TooMuch, View

GRACE_S, SILENT_S = 10.0, 30.0
CLUSTERS = st.dictionaries(
    st.sampled_from("abc"),
    st.sampled_from([Held(1, 0, 1), Held(0, 0, 1), Held(0, 0, 0), Held(0, 1, 1), Held(2, 0, 3)]),
)


@dataclass
class Stream:
    node: str
    number: int
    said: list[tuple[int, float, dict[str, Held]]] = field(default_factory=list)
    """When, counted and by the clock, and what."""
    ended: tuple[int, float] | None = None


class Books(RuleBasedStateMachine):
    """The model keeps everything that was ever said and works out whose word counts at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.told = 0
        self.book = Book(self._tell, grace_s=GRACE_S, silent_s=SILENT_S)
        self.now = 0.0
        self.streams: list[tuple[Stream, Reporter]] = []
        self.voices: dict[str, Stream] = {}

    def _tell(self) -> None:
        self.told += 1

    @rule(node=st.sampled_from(["n1", "n2", "n3"]))
    def join(self, node: str) -> None:
        reporter = self.book.join("g", node, self.now)
        self.streams.append((Stream(node, len(self.streams)), reporter))

    @precondition(lambda self: any(s.ended is None for s, _ in self.streams))
    @rule(data=st.data(), clusters=CLUSTERS)
    def hear(self, data: st.DataObject, clusters: dict[str, Held]) -> None:
        live = [(s, r) for s, r in self.streams if s.ended is None]
        stream, reporter = data.draw(st.sampled_from(live))
        before, told = self.expected(), self.told
        self.book.hear(reporter, View(clusters), self.now)
        stream.said.append((0, self.now, clusters))
        voice = self.voices.get(stream.node)
        if voice is None or voice.number <= stream.number or voice.ended is not None:
            self.voices[stream.node] = stream
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
        for node, voice in list(self.voices.items()):
            gone = voice.ended is not None and self.now - voice.ended[1] >= GRACE_S
            if gone or self.now - voice.said[-1][1] >= SILENT_S:
                del self.voices[node]

    def expected(self) -> dict[str, Count]:
        counts: dict[str, Count] = {}
        for voice in self.voices.values():
            for name, held in voice.said[-1][2].items():
                if held.says is not None:
                    count = counts.setdefault(name, Count())
                    count.up += held.says
                    count.down += not held.says
                    count.healthy += held.healthy
                    count.total += held.total
        return counts

    @invariant()
    def counts_agree(self) -> None:
        assert self.book.counts == self.expected()
        assert self.book.nodes == self.voices.keys()
        said = sum(len(voice.said[-1][2]) for voice in self.voices.values())
        assert self.book._held == said


Books.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestBooks = Books.TestCase


def test_a_restart_leaves_no_gap() -> None:
    book = Book(grace_s=GRACE_S)
    view = View({"a": Held(0, 0, 1)})
    old = book.join("g", "n", 0)
    book.hear(old, view, 0)
    book.leave(old, 1)
    book.age(5)
    assert book.counts == {"a": Count(0, 1, 0, 1)}
    new = book.join("g", "n", 5)
    book.age(10.9)
    book.hear(new, view, 10.9)
    book.age(20)
    assert book.counts == {"a": Count(0, 1, 0, 1)}
    # The end of the old stream is no end of the new.
    book.leave(old, 20)
    book.age(35)
    assert book.nodes == {"n"}


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    book = Book(max_nodes=2)
    first, second = book.join("g", "a", 0), book.join("g", "b", 0)
    with pytest.raises(TooMuch):
        book.join("g", "c", 0)
    book.hear(first, View({}), 0)
    book.hear(second, View({}), 0)
    book.leave(first, 0)
    # Its word still counts, and takes the place of another's.
    third = book.join("g", "c", 0)
    with pytest.raises(TooMuch):
        book.hear(third, View({}), 0)
    book.age(GRACE_S)
    book.hear(third, View({}), GRACE_S)
    monkeypatch.setattr(module, "MAX_HELD", 3)
    book.hear(second, View({"a": Held(1, 0, 1), "b": Held(1, 0, 1)}), 1)
    with pytest.raises(TooMuch):
        book.hear(third, View({"a": Held(1, 0, 1), "b": Held(1, 0, 1)}), 1)
    book.hear(second, View({"a": Held(1, 0, 1)}), 1)
    book.hear(third, View({"a": Held(1, 0, 1), "b": Held(1, 0, 1)}), 1)
    assert book.counts["a"].up == 2
