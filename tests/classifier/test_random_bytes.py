"""Whatever bytes come, in whatever pieces: no error of ours, and no stranger is answered."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from control_plane.classifier.answerer import Answerer
from control_plane.classifier.authentication import Authentication
from control_plane.classifier.connections import Connections, Peer
from control_plane.classifier.decide import Decider
from control_plane.classifier.http_connection import MAX_PIPELINED, HttpConnection, Port
from control_plane.classifier.metrics import ClassifierMetrics
from control_plane.topology import Topology
from tests.support.plane import add_cell, edge_secret, route_all

COUNTS = b"x-cellway-edge-counts: hits=7\r\n"
WRONG = b"x-cellway-edge-secret: " + b"0" * 64 + b"\r\n"
PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [
            *(
                b"GET / HTTP/1.1\r\n",
                b"POST /x?\xff HTTP/1.1\r\n",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            ),
            *(
                b"host: a\r\n",
                b"\r\n",
                b"\r\n\r\n",
                b"\n",
                b"\x00",
                b"\x16\x03\x01\x02",
                COUNTS,
                WRONG,
            ),
            *(
                b"content-length: 3\r\n",
                b"content-length: -1\r\n",
                b"content-length: 9999999999\r\n",
            ),
            *(b"transfer-encoding: chunked\r\n\r\n", b"5\r\nabcde\r\n0\r\n\r\n", b"fffffffff\r\n"),
            *(
                b"connection: upgrade\r\nupgrade: x\r\n",
                b"x-cellway-known: 1 x\r\n",
                b"expect: 100-continue\r\n",
            ),
            *(
                b"x-cellway-method: \r\n",
                b"X-Cellway-Edge-Secret: \r\n",
                b": a\r\n",
                b" folded\r\n",
            ),
        ]
    ),
)


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.sent = b""
        self.closing = False

    def write(self, data: bytes) -> None:
        assert not self.closing
        self.sent += data

    def close(self) -> None:
        self.closing = True

    abort = close

    def is_closing(self) -> bool:
        return self.closing


class Told(ClassifierMetrics):
    """Metrics that note the counts of edges, and need no event loop."""

    def __init__(self) -> None:
        super().__init__(CollectorRegistry())
        self.counts: list[bytes] = []

    def edge_counted(self, counts: bytes) -> None:
        self.counts.append(counts)

    def classified(self, decision: Any, seconds: float) -> None:
        """Nobody wants to know."""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Port, bytes]]:
    directory: Path = tmp_path_factory.mktemp("random")
    topology = Topology.open(f"sqlite:///{directory}/r.db")
    add_cell(topology)
    route_all(topology)
    told = Told()
    decider = Decider(topology)
    book = Connections(told, max_connections=99, max_peer_connections=99)
    authentication = Authentication(topology.edge_secrets.read, told)
    ((name, secret),) = edge_secret(topology).items()
    yield Port(Answerer(decider, told), authentication, book), f"{name}: {secret}\r\n".encode()
    decider.close()
    topology.close()


def heard(port: Port, *pieces: bytes) -> Wire:
    """Send pieces over a new connection; return its transport."""
    connection, wire = HttpConnection(port, Peer("p"), cast("socket.socket", None)), Wire()
    connection.connection_made(cast("Any", wire))
    for piece in pieces:
        if wire.closing:
            break
        connection.data_received(piece)
    connection.connection_lost(None)
    return wire


def counts(port: Port) -> list[bytes]:
    return cast("Told", port.answerer.observer).counts


@given(pieces=st.lists(PIECES, max_size=12))
def test_a_stranger_gets_nothing_but_refusals(
    port: tuple[Port, bytes], pieces: list[bytes]
) -> None:
    counts(port[0]).clear()
    wire = heard(port[0], *pieces)
    statuses = re.findall(rb"HTTP/1.1 (\d+)", wire.sent)
    assert set(statuses) <= {b"400", b"403", b"431"}
    assert wire.closing == bool(statuses) or b"upgrade" in b"".join(pieces).lower()
    assert not counts(port[0])


@given(pieces=st.lists(PIECES, max_size=12))
def test_an_edge_that_sends_nonsense_breaks_nothing(
    port: tuple[Port, bytes], pieces: list[bytes]
) -> None:
    secret = port[1]
    wire = heard(port[0], *(piece.replace(b"host: a\r\n", secret) for piece in pieces))
    assert set(re.findall(rb"HTTP/1.1 (\d+)", wire.sent)) <= {
        b"200",
        b"204",
        b"400",
        b"403",
        b"431",
    }


@pytest.mark.parametrize("shown", [True, False])
def test_counts_are_taken_from_edges_only(port: tuple[Port, bytes], *, shown: bool) -> None:
    counts(port[0]).clear()
    head = b"GET / HTTP/1.1\r\nhost: a\r\n" + COUNTS * 3
    wire = heard(port[0], head + (port[1] if shown else b"") + b"\r\n")
    assert counts(port[0]) == [b"hits=7"] * shown
    assert wire.sent.startswith(b"HTTP/1.1 200" if shown else b"HTTP/1.1 403")


def test_few_requests_are_read_before_their_answers(port: tuple[Port, bytes]) -> None:
    one = b"GET / HTTP/1.1\r\n" + port[1] + b"\r\n"
    wire = heard(port[0], one * MAX_PIPELINED, one * (MAX_PIPELINED + 2))
    assert wire.sent.count(b"HTTP/1.1 200") == 2 * MAX_PIPELINED
    assert wire.sent.count(b"HTTP/1.1 429") == 1
    assert wire.closing
