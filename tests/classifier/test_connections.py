"""The limits of connections hold whoever comes, and strangers never keep an edge out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.classifier import connections as limits
from control_plane.classifier.connections import Connection, Connections, Turned


class Watched:
    def __init__(self) -> None:
        self.turned: list[Turned] = []
        self.held = (0, 0)

    def connections(self, edges: int, strangers: int) -> None:
        self.held = edges, strangers

    def turned_away(self, why: Turned) -> None:
        self.turned.append(why)


class Line(Connection):
    """A connection that only notes what is done to it."""

    def __init__(self) -> None:
        self.aborted = False
        self.trusted = True

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.aborted = True

    def waited(self, seconds: float) -> None:
        pass

    def distrust(self) -> None:
        self.trusted = False


class Port:
    """A book of connections with a clock, and what came of each connection."""

    def __init__(self, max_connections: int, max_peer_connections: int) -> None:
        self.now = 0.0
        self.watched = Watched()
        self.book = Connections(
            self.watched,
            max_connections=max_connections,
            max_peer_connections=max_peer_connections,
            clock=lambda: self.now,
        )

    def connect(self, address: str, *, edge: bool = False) -> Line | None:
        peer = self.book.peer(address)
        if peer is None:
            return None
        line = Line()
        self.book.opened(line, peer)
        if edge:
            self.book.proven(line)
        return line


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_STRANGERS", 6)
    monkeypatch.setattr(limits, "MAX_PEER_STRANGERS", 3)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["stranger", "edge", "close", "prove", "sweep"]),
        st.sampled_from(["10.0.0.1", "10.0.0.2", "::ffff:10.0.0.1", "2001:db8::1", "2001:db8::2"]),
        st.integers(0, 40),
    ),
    max_size=60,
)


@given(steps=STEPS)
def test_no_limit_is_ever_exceeded_and_no_edge_is_cut_off(
    steps: list[tuple[str, str, int]],
) -> None:
    port = Port(12, 8)
    lines: list[tuple[Line, str]] = []
    edges: set[Line] = set()
    for what, address, number in steps:
        alive = [one for one in lines if not one[0].aborted]
        if what in {"stranger", "edge"}:
            line = port.connect(address, edge=what == "edge")
            if line is None:
                assert not any(one not in edges for one, _ in alive) or len(edges) >= 8
                continue
            lines.append((line, address))
            if what == "edge":
                edges.add(line)
        elif alive and what != "sweep":
            line, _ = alive[number % len(alive)]
            if what == "prove":
                port.book.proven(line)
                edges.add(line)
            else:
                port.book.closed(line)
                edges.discard(line)
                lines = [one for one in lines if one[0] is not line]
        else:
            port.now += number / 10
            port.book.sweep(1.0)
        open_now = [one for one in lines if not one[0].aborted]
        assert len(port.book) == len(open_now) <= 12
        assert sum(line not in edges for line, _ in open_now) <= 6
        assert not any(line.aborted for line in edges)
        for peer in ({"10.0.0.1", "::ffff:10.0.0.1"}, {"2001:db8::1", "2001:db8::2"}):
            own = [line for line, address in open_now if address in peer]
            assert len(own) <= 8
            assert sum(line not in edges for line in own) <= 3
    for line, _ in lines:
        port.book.closed(line)
    assert not port.book._peers
    assert not port.book._strangers


def test_the_oldest_stranger_makes_room_for_an_edge_where_all_is_full() -> None:
    port = Port(6, 6)
    strangers = [port.connect(f"10.0.0.{number}") for number in range(6)]
    edge = port.connect("10.0.1.1", edge=True)
    assert [one.aborted for one in strangers if one] == [True] + [False] * 5
    assert edge is not None
    assert port.watched.turned == [Turned.ROOM_FOR_ANOTHER]


@pytest.mark.parametrize(
    ("total", "of_peer", "why"), [(4, 9, Turned.FULL), (9, 4, Turned.PEER_FULL)]
)
def test_edges_beyond_the_limits_are_refused_and_told_in_the_log(
    total: int, of_peer: int, why: Turned, caplog: pytest.LogCaptureFixture
) -> None:
    port = Port(total, of_peer)
    assert all(port.connect("10.0.0.1", edge=True) for _ in range(4))
    assert [port.connect("10.0.0.1") for _ in range(3)] == [None] * 3
    assert port.watched.turned == [why] * 3
    assert caplog.text.count("a connection of 10.0.0.1 is refused") == 1


def test_silent_strangers_are_closed_and_reports_are_counted_anew() -> None:
    port = Port(20, 20)
    silent = port.connect("10.0.0.1")
    edge = port.connect("10.0.0.1", edge=True)
    peer = port.book.peer("10.0.0.1")
    assert silent is not None
    assert edge is not None
    assert peer is not None
    assert [peer.may_report() for _ in range(limits.MAX_REPORTS + 2)].count(False) == 2
    port.now = limits.REPORTS_S
    port.book.sweep(1.0)
    assert peer.may_report()
    assert (silent.aborted, edge.aborted) == (True, False)
    assert port.watched.turned == [Turned.SILENT]
    assert port.watched.held == (1, 0)
    port.book.distrust_all()
    assert not edge.trusted
