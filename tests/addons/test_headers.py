"""A cell gets the same headers from mitmdump with the addon as from Envoy, and so does a client.

What may differ is said here and in docs/addon.md, and nowhere else.
"""

from __future__ import annotations

import ssl
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from control_plane.names import HOST_HEADER
from tests.addons.echo_cell import OK, EchoCell, Fields
from tests.addons.mitmdump import mitmdump
from tests.support.raw_http import RawResponse, exchange, request_bytes
from tests.support.raw_http2 import RawHttp2Connection
from tests.support.system import System

HOST = b"gitlab.example.com"
CLIENT = b"127.0.0.1"
WEBSOCKET: Fields = [
    ("Upgrade", b"websocket"),
    ("Sec-WebSocket-Version", b"13"),
    ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
]
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"x-cellway-cell: forged\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
REQUESTS: dict[str, bytes] = {
    "plain": request_bytes(b"/acme/x?y=//", host=HOST),
    "forwarded": request_bytes(
        b"/acme",
        [
            *(("X-Forwarded-For", b"192.0.2.1"), ("X-Forwarded-For", b"192.0.2.2, 192.0.2.3")),
            *(("X-Forwarded-Proto", b"https"), ("X-Forwarded-Host", b"h"), ("Forwarded", b"a=b")),
            *(("X-Request-Id", b"mine"), ("X-Envoy-External-Address", b"192.0.2.9")),
            *(("X-Real-IP", b"192.0.2.9"), ("Via", b"1.1 x"), ("X-Forwarded-Port", b"1")),
        ],
        host=HOST,
    ),
    "internal": request_bytes(
        b"/acme",
        [
            *(("X-Cellway-Cell", b"cell-2"), ("x-cellway-made-up", b"1"), ("X-CELLWAY-RULE", b"r")),
            *(("X-Envoy-Internal", b"true"), ("X-Envoy-Retry-On", b"5xx")),
            ("X-Envoy-Auth-Failure-Mode-Allowed", b"true"),
        ],
        host=HOST,
    ),
    "nominated": request_bytes(
        b"/acme",
        [
            *(("Connection", b"keep-alive, x-secret, x-cellway-cell"), ("X-Secret", b"1")),
            *(("Keep-Alive", b"timeout=5"), ("Proxy-Connection", b"keep-alive")),
        ],
        host=HOST,
    ),
    "te": request_bytes(b"/acme", [("TE", b"gzip, trailers")], host=HOST),
    "repeated": request_bytes(
        b"/acme",
        [
            *(("Accept", b"a"), ("Accept", b"b"), ("X-A", b"1"), ("X-A", b"2"), ("X-Empty", b"")),
            *(("Cookie", b"a=1"), ("Cookie", b"b=2")),
        ],
        host=HOST,
    ),
    "native": request_bytes(b"/-/x", [("Cookie", b"_gitlab_session=cell-2-a")], host=HOST),
    "odd path": request_bytes(b"/%61cme/./b/../%2fx//y", host=HOST),
    "odd host": request_bytes(b"/acme", host=b"GitLab.Example.com:8080"),
    "absolute": request_bytes(b"http://other.example/acme", host=HOST),
    "post": request_bytes(
        b"/acme", [("Content-Length", b"3")], method="POST", host=HOST, body=b"abc"
    ),
    "chunked": request_bytes(
        b"/acme",
        [("Transfer-Encoding", b"chunked")],
        method="PUT",
        host=HOST,
        body=b"3\r\nabc\r\n0\r\n\r\n",
    ),
    "expect": request_bytes(
        b"/acme",
        [("Content-Length", b"3"), ("Expect", b"100-continue")],
        method="POST",
        host=HOST,
        body=b"abc",
    ),
    **{
        f"{method} without body": request_bytes(b"/acme", method=method, host=HOST)
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "PROPFIND")
    },
}
UPGRADES: dict[str, Fields] = {
    "plain": [*WEBSOCKET, ("Connection", b"Upgrade")],
    "nominated": [*WEBSOCKET, ("Connection", b"x-cellway-cell, upgrade, x-forwarded-for")],
    "keep-alive": [*WEBSOCKET, ("Connection", b"keep-alive, Upgrade"), ("Keep-Alive", b"1")],
}
ANSWERS: dict[str, bytes] = {
    "internal": b"x-cellway-cell: forged\r\nX-Cellway-Made-Up: 1\r\nx-other: 1\r\n",
    "hop by hop": b"Connection: keep-alive, x-other\r\nKeep-Alive: timeout=5\r\nx-other: 1\r\n",
    "proxy": b"Proxy-Connection: keep-alive\r\nUpgrade: h2c\r\nVia: 1.1 y\r\n",
    "cookies": b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nServer: cell\r\nX-Powered-By: x\r\n",
    "envoy's": b"x-envoy-upstream-service-time: 1\r\nx-request-id: mine\r\n",
}


@dataclass(frozen=True, slots=True)
class Pair:
    """Envoy and mitmdump, in front of the same cell."""

    cell: EchoCell
    edge: int
    addon: int

    def both(self, request: bytes) -> list[tuple[bytes, Fields, bytes]]:
        """Return what reaches the cell of a request, through Envoy and through mitmdump."""
        return [arrived(self.cell, port, request) for port in (self.edge, self.addon)]


def arrived(cell: EchoCell, port: int, request: bytes) -> tuple[bytes, Fields, bytes]:
    cell.requests.clear()
    answer = exchange(("127.0.0.1", port), request)
    assert answer is not None
    assert answer.status in {101, 200}, answer
    line, fields, body = cell.last()
    return line, comparable(fields), body


def comparable(fields: Fields) -> Fields:
    """Return fields without what may differ.

    An id is new each time. For a client on this machine Envoy writes an address of the machine
    instead of the loopback address. The edge cache notes an unusual host for itself.
    """
    kept = []
    for name, value in fields:
        if name == "x-request-id":
            kept.append((name, str(uuid.UUID(value.decode()).version).encode()))
        elif name == "x-forwarded-for":
            before, comma, _ = value.rpartition(b",")
            kept.append((name, before + comma + CLIENT))
        elif name != HOST_HEADER:
            kept.append((name, value))
    return kept


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    directory = tmp_path_factory.mktemp("headers")
    with (
        EchoCell() as cell,
        # Without debug callers: the tier that these have written differs.
        System(directory, cells=0, debug_networks=()) as system,
    ):
        for number in range(1, 4):
            system.add_cell(f"cell-{number}", cell.port)
        system.claim("cell-1", "route:acme")
        system.use_ruleset("gitlab")
        system.in_step()
        with mitmdump(system, "reverse:http://127.0.0.1:1", directory) as port:
            yield Pair(cell, system.edge_port, port)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_cell_gets_the_headers_that_envoy_gives_it(pair: Pair, name: str) -> None:
    by_envoy, by_addon = pair.both(REQUESTS[name])
    assert by_addon == by_envoy


@pytest.mark.parametrize("name", UPGRADES)
def test_a_websocket_reaches_the_cell_with_the_same_headers(pair: Pair, name: str) -> None:
    pair.cell.answers[b"/acme/socket"] = SWITCHED
    request = request_bytes(b"/acme/socket", UPGRADES[name], host=HOST)
    by_envoy, by_addon = pair.both(request)
    assert by_addon == by_envoy


def test_a_websocket_opens(pair: Pair) -> None:
    pair.cell.answers[b"/acme/socket"] = SWITCHED
    request = request_bytes(b"/acme/socket", UPGRADES["plain"], host=HOST)
    by_envoy, by_addon = (
        exchange(("127.0.0.1", port), request) for port in (pair.edge, pair.addon)
    )
    assert told(by_addon) == told(by_envoy)


@pytest.mark.parametrize("name", ANSWERS)
def test_a_client_gets_the_headers_that_envoy_gives_it(pair: Pair, name: str) -> None:
    path = b"/acme/" + name.split()[0].encode()
    pair.cell.answers[path] = OK.replace(b"\r\n\r\n", b"\r\n" + ANSWERS[name] + b"\r\n")
    request = request_bytes(path, host=HOST)
    by_envoy, by_addon = (
        exchange(("127.0.0.1", port), request) for port in (pair.edge, pair.addon)
    )
    assert told(by_addon) == told(by_envoy)


def told(answer: RawResponse | None) -> tuple[int, list[tuple[str, bytes]]]:
    """Return status and headers of an answer, without the date that Envoy adds."""
    assert answer is not None
    return answer.status, sorted(field for field in answer.headers if field[0] != "date")


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_http2_reaches_the_cell_with_the_same_headers(pair: Pair, method: bytes) -> None:
    block = [(b":method", method), (b":scheme", b"http"), (b":path", b"/acme/x")]
    block += [(b":authority", HOST), (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"accept", b"a")]
    block += [(b"x-cellway-cell", b"forged"), (b"te", b"trailers")]
    unverified = ssl.create_default_context()
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    unverified.set_alpn_protocols(["h2"])
    seen = []
    for port, tls in ((pair.edge, None), (pair.addon, unverified)):
        pair.cell.requests.clear()
        with RawHttp2Connection(("127.0.0.1", port), timeout_s=20.0, tls=tls) as connection:
            answer = connection.exchange(block)
        assert isinstance(answer, RawResponse)
        line, fields, body = pair.cell.last()
        # The edge's listener speaks no TLS; mitmdump's client does.
        others = [field for field in comparable(fields) if field[0] != "x-forwarded-proto"]
        seen.append((line, others, body))
    assert seen[0] == seen[1]
