"""Nobody but the edge itself sets, hinders or reads an internal header, wherever it stands.

Each internal header is put into each place that a request or a response has for headers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from control_plane import names
from tests.e2e.header_cell import HeaderCell, answers_with
from tests.e2e.smuggling import RULES, Fields
from tests.support.raw_http import RawConnection, RawResponse, request_bytes
from tests.support.raw_http2 import Http2Refusal, RawHttp2Connection
from tests.support.system import System

DEBUG_CALLER, OUTSIDER = "127.0.0.2", "127.0.0.1"
OTHERS_VALUE = b"forged"
INTERNAL = sorted(
    {
        *(
            value
            for value in vars(names).values()
            if isinstance(value, str)
            and value.startswith(names.INTERNAL_PREFIX)
            and value != names.INTERNAL_PREFIX
        ),
        "x-cellway-made-up",
    }
)
SHOWN = ["x-cellway-cell", "x-cellway-revision", "x-cellway-rule", "x-cellway-tier"]
CALLERS = {OUTSIDER: [], DEBUG_CALLER: SHOWN}
PATHS = {"native": b"/any", "classifier": b"/t/acme"}
WEBSOCKET: Fields = [("Upgrade", b"websocket"), ("Sec-WebSocket-Version", b"13")]
MORE_FIELDS: dict[str, Fields] = {
    "upgrade": [*WEBSOCKET, ("Connection", b"Upgrade")],
    "100": [("Expect", b"100-continue")],
}
"""What a request needs for an answer of the cell."""


@dataclass(frozen=True, slots=True)
class Edge:
    address: tuple[str, int]
    cell: HeaderCell


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    directory = tmp_path_factory.mktemp("internal")
    with (
        HeaderCell() as cell,
        System(directory, cells=0, debug_networks=(f"{DEBUG_CALLER}/32",)) as system,
    ):
        for number in range(1, 4):
            system.add_cell(f"cell-{number}", cell.port)
        system.claim("cell-2", "tenant:acme")
        system.use_ruleset(RULES)
        system.in_step()
        yield Edge(("127.0.0.1", system.edge_port), cell)


def requests_with(name: str) -> dict[str, Fields]:
    """Return the ways in which a request can name a header."""
    field, nominated = (name, OTHERS_VALUE), name.encode()
    capitals = "-".join(part.capitalize() for part in name.split("-"))
    return {
        "header": [field],
        "capitals": [(capitals, OTHERS_VALUE)],
        "twice": [field, (capitals, OTHERS_VALUE)],
        "nominated": [field, ("Connection", b"close, " + nominated)],
        "nominated alone": [("Connection", nominated)],
        "upgrade": [*WEBSOCKET, ("Connection", b"Upgrade"), field],
        "upgrade, nominated": [*WEBSOCKET, ("Connection", b"Upgrade, " + nominated)],
        "upgrade, nominated first": [*WEBSOCKET, ("Connection", nominated + b",upgrade"), field],
        "upgrade, two fields": [
            *WEBSOCKET,
            ("Connection", b"Upgrade"),
            ("Connection", capitals.encode()),
        ],
        "te": [("TE", b"trailers"), ("Connection", b"TE, " + nominated), field],
        "trailer": [("Transfer-Encoding", b"chunked"), ("Trailer", nominated)],
    }


def exchange(edge: Edge, path: bytes, fields: Fields, trailer: str = "") -> RawResponse | None:
    body = f"1\r\na\r\n0\r\n{trailer}: forged\r\n\r\n".encode() if trailer else b""
    request = request_bytes(path, fields, method="POST" if trailer else "GET", body=body)
    connection = RawConnection(edge.address)
    try:
        return connection.exchange(request)
    finally:
        connection.close()


def fields_of(head: bytes) -> list[tuple[str, bytes]]:
    lines = head.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    pairs = [line.split(b": ", 1) for line in lines]
    return [(name.decode("latin-1").lower(), value) for name, value in pairs]


def internal_of(fields: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Return the internal fields, however they are spelt, without those whose values vary."""
    return sorted(
        (name, b"" if name == names.TIER_HEADER else value)
        for name, value in fields
        if name.replace("_", "-").startswith(names.INTERNAL_PREFIX)
    )


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_a_cell_gets_the_edges_own_internal_headers_whatever_a_request_says(
    edge: Edge, path: bytes
) -> None:
    exchange(edge, path, [])
    clean = internal_of(fields_of(edge.cell.heads.pop()))
    assert {"x-cellway-cell", "x-cellway-rule"} <= {name for name, _ in clean}
    wrong: list[str] = []
    for name in [*INTERNAL, names.AUTHZ_FAILED_HEADER]:
        for way, fields in requests_with(name).items():
            edge.cell.heads.clear()
            exchange(edge, path, fields, trailer=name if way == "trailer" else "")
            for head in edge.cell.heads:
                arrived = fields_of(head)
                hop_by_hop = b",".join(value for key, value in arrived if key == "connection")
                if internal_of(arrived) != clean or OTHERS_VALUE in head:
                    wrong.append(f"{way}, {name}: {internal_of(arrived)}")
                if b"cellway" in hop_by_hop.lower() or name.encode() in hop_by_hop.lower():
                    wrong.append(f"{way}, {name}: Connection {hop_by_hop!r}")
            if not edge.cell.heads:
                wrong.append(f"{way}, {name}: refused")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_over_http2_it_is_the_same(edge: Edge, path: bytes) -> None:
    exchange(edge, path, [])
    clean = internal_of(fields_of(edge.cell.heads.pop()))
    start = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"localhost"),
    ]
    wrong: list[str] = []
    with RawHttp2Connection(edge.address) as connection:
        for name in INTERNAL:
            field = (name.encode(), OTHERS_VALUE)
            for fields, trailers in (([field], []), ([field, field], []), ([], [field])):
                edge.cell.heads.clear()
                answer = connection.exchange([*start, *fields], body=b"a", trailers=trailers)
                assert isinstance(answer, RawResponse), answer
                (head,) = edge.cell.heads
                if internal_of(fields_of(head)) != clean:
                    wrong.append(f"{name}: {head!r}")
    assert not wrong, "\n".join(wrong)
    pseudo = [*start, (b":x-cellway-cell", b"cell-1")]
    with RawHttp2Connection(edge.address) as connection:
        assert isinstance(connection.exchange(pseudo), Http2Refusal)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("caller", CALLERS)
def test_of_a_cells_internal_headers_no_caller_sees_any(
    edge: Edge, path: bytes, caller: str
) -> None:
    wrong: list[str] = []
    for way, answer in answers_with(INTERNAL, OTHERS_VALUE).items():
        edge.cell.answers = {path: answer}
        more = MORE_FIELDS.get(way, [])
        connection = RawConnection(edge.address, source=caller)
        try:
            connection.send(request_bytes(path, more))
            seen = responses(connection)
        finally:
            connection.close()
        assert seen[-1].status in (200, 204, 503, 101), (way, seen)
        for response in seen:
            shown = CALLERS[caller] if response is seen[-1] else []
            internal = [n for n, _ in response.headers if n.startswith(names.INTERNAL_PREFIX)]
            text = b" ".join(value for _, value in response.headers) + response.body
            if sorted(internal) != shown or OTHERS_VALUE in text.lower():
                wrong.append(f"{way}: {response}")
    edge.cell.answers = {}
    assert not wrong, "\n".join(wrong)


def responses(connection: RawConnection) -> list[RawResponse]:
    """Return the interim responses and the final one."""
    seen: list[RawResponse] = []
    while not seen or (seen[-1].status < 200 and seen[-1].status != 101):
        response = connection.read_response(interim=True)
        assert response is not None, seen
        seen.append(response)
    return seen
