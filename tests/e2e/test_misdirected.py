"""A cell answers 421: the real Envoy drops its cached answer, and repeats the request if it can.

The cells know of a move that the edge does not know: its epochs are held back. The tenants' names
are not plain: an edge with a map of owners leaves them to the edge cache (for what the map itself
does, see `test_edge_map_misdirected`).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from control_plane.compiler.epochs import compile_epochs
from control_plane.publisher import edge_snapshots
from control_plane.topology import Subject
from control_plane.topology.values.claim import ClaimSpec
from control_plane.xds.resource import Resource
from tests.e2e.tenant_cells import TenantCells
from tests.support.conditions import wait_until
from tests.support.raw_http import RawConnection, RawResponse, request_bytes
from tests.support.raw_http2 import RawHttp2Connection
from tests.support.system import RULESETS, System

CELLS = ("cell-1", "cell-2")
RETRY_AFTER = b"5"
NATIVE = json.loads((RULESETS / "generic.json").read_text())
NATIVE |= {"name": "pinned", "description": "cell-1 by a header"}
_PIN = {"type": "header", "name": "^x-pin$", "regexValue": "^1$"}
NATIVE["rules"].insert(
    0, {"id": "pin", "match": _PIN, "action": "proxy", "proxy": {"cell": "cell-1"}}
)
_numbers = itertools.count()


class Edge:
    """A system whose edge is told of no move, and cells that know their tenants."""

    def __init__(self, system: System, cells: TenantCells) -> None:
        self.system, self.cells = system, cells
        self.address = ("127.0.0.1", system.edge_port)
        self.connection = RawConnection(self.address)

    def tenant(self) -> str:
        """Return a new tenant of cell-1, as in a path, for which the edge has cached the answer.

        Each Envoy worker has its own cache, so all requests come over one connection.
        """
        self.connection.close()
        self.connection = RawConnection(self.address)
        name = f"tenant-%C3%A9-{next(_numbers)}"
        spec = ClaimSpec("tenant", unquote(name), "cell-1", subject=name)
        self.system.plane.topology.claims.claim([spec], actor="test")
        self.cells.owners[name] = "cell-1"
        self.cells.hasty = False
        assert self.ask(name).body == b"cell-1"
        self.cells.got.clear()
        return name

    def move(self, name: str) -> None:
        """Move a tenant to cell-2: the classifier knows it, but not the edge."""
        topology = self.system.plane.topology
        subject = Subject(text=name)
        topology.moves.move(subject, "cell-1", "cell-2", reason="test", actor="test")
        self.cells.owners[name] = "cell-2"

    def ask(self, name: str, path: str = "x", **parts: object) -> RawResponse:
        request = request_bytes(f"/t/{name}/{path}".encode(), **parts)
        response = self.connection.exchange(request)
        assert response is not None
        return response

    def seen(self) -> list[tuple[str, str]]:
        return [(got.cell, got.method) for got in self.cells.got]


@pytest.fixture(scope="module")
def patched() -> Iterator[None]:
    """Publish no epoch but the floor of the start."""
    patch = pytest.MonkeyPatch()
    floor = compile_epochs(1, {})
    held = Resource.of(floor.type_url, floor.name, floor.body)
    patch.setattr(edge_snapshots, "_epochs", lambda _floor, _epochs: held)
    yield
    patch.undo()


def start(directory: Path, cells: TenantCells, **settings: object) -> Iterator[Edge]:
    defaults = {"debug_networks": ("127.0.0.0/8",)} | settings
    # One worker has one cache, whatever connection a request comes over.
    with System(directory, cells=0, concurrency=1, **defaults) as system:
        for name, port in cells.ports.items():
            system.add_cell(name, port)
        system.use_ruleset("generic")
        edge = Edge(system, cells)
        yield edge
        edge.connection.close()


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory, patched: None) -> Iterator[Edge]:
    with TenantCells(*CELLS) as cells:
        yield from start(tmp_path_factory.mktemp("misdirected"), cells)


def test_a_request_without_a_body_is_asked_again_and_the_entry_is_forgotten(edge: Edge) -> None:
    name = edge.tenant()
    assert edge.ask(name).header("x-cellway-tier") == b"edge-cache"
    edge.move(name)
    edge.cells.got.clear()
    answered = edge.ask(name, "a%2Fb?q=1&r=%C3%A4", headers=[("x-own", b"kept")])
    assert (answered.status, answered.body) == (200, b"cell-2")
    assert edge.seen() == [("cell-1", "GET"), ("cell-2", "GET")]
    first, second = edge.cells.got
    assert second.target == first.target
    cell, tier = "x-cellway-cell", "x-cellway-tier"
    assert (second.headers[cell], second.headers[tier]) == ("cell-2", "classifier")
    assert second.headers == first.headers | {cell: "cell-2", tier: "classifier"}
    assert second.target == f"/t/{name}/a%2Fb?q=1&r=%C3%A4"
    edge.cells.got.clear()
    assert edge.ask(name).body == b"cell-2"
    assert edge.seen() == [("cell-2", "GET")]


@pytest.mark.parametrize("method", ["HEAD", "DELETE", "POST"])
def test_method_and_host_stay_when_a_request_is_repeated(edge: Edge, method: str) -> None:
    name = edge.tenant()
    edge.move(name)
    headers = [("content-length", b"0")] if method == "POST" else []
    answered = edge.ask(name, method=method, host=b"other.example.com:81", headers=headers)
    assert (answered.status, answered.header("x-example-cell")) == (200, b"cell-2")
    assert edge.seen() == [("cell-1", method), ("cell-2", method)]
    assert edge.cells.got[1].headers["host"] == "other.example.com:81"


def test_a_request_of_http2_is_repeated_unless_it_has_a_body(edge: Edge) -> None:
    with RawHttp2Connection(edge.address) as connection:

        def ask(name: str, method: bytes, body: bytes = b"") -> RawResponse:
            head = [(b":method", method), (b":scheme", b"http"), (b":authority", b"h2.example")]
            path = (b":path", f"/t/{name}/x".encode())
            answered = connection.exchange([*head, path], body=body)
            assert isinstance(answered, RawResponse)
            return answered

        for body, status in ((b"", 200), (b"x", 503)):
            name = edge.tenant()
            assert ask(name, b"GET").body == b"cell-1"
            edge.move(name)
            edge.cells.got.clear()
            # A body without a length: no header announces it.
            assert ask(name, b"GET", body).status == status
            assert {got.headers["host"] for got in edge.cells.got} == {"h2.example"}
            assert ask(name, b"GET").body == b"cell-2"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_is_never_sent_twice_and_the_entry_is_forgotten(edge: Edge, chunked: bool) -> None:
    name = edge.tenant()
    edge.move(name)
    framing, body = ("content-length", b"3"), b"abc"
    if chunked:
        framing, body = ("transfer-encoding", b"chunked"), b"3\r\nabc\r\n0\r\n\r\n"
    request = {"method": "POST", "headers": [framing], "body": body}
    refused = edge.ask(name, **request)
    assert (refused.status, refused.header("retry-after")) == (503, RETRY_AFTER)
    assert edge.seen() == [("cell-1", "POST")]
    again = edge.ask(name, **request)
    assert (again.status, again.body) == (200, b"cell-2")
    assert edge.cells.got[-1].body == b"abc"


@pytest.mark.parametrize("body", [b"", b"not mine"])
def test_a_421_before_the_bodys_end_is_a_503(edge: Edge, body: bytes) -> None:
    name = edge.tenant()
    edge.move(name)
    edge.cells.hasty, edge.cells.refusal = True, body
    head = request_bytes(f"/t/{name}/x".encode(), [("content-length", b"10000000")], method="POST")
    refused = edge.connection.exchange(head + b"x" * 100_000)
    assert refused is not None
    assert (refused.status, refused.header("retry-after")) == (503, RETRY_AFTER)
    assert edge.seen() == [("cell-1", "POST")]
    assert refused.body == body or (not body and refused.body.startswith(b'{"status": 503'))


def test_an_upgrade_is_a_503(edge: Edge) -> None:
    name = edge.tenant()
    edge.move(name)
    edge.cells.hasty, edge.cells.refusal = True, b""
    refused = edge.ask(name, headers=[("connection", b"upgrade"), ("upgrade", b"WebSocket")])
    assert (refused.status, refused.header("retry-after")) == (503, RETRY_AFTER)
    assert edge.seen() == [("cell-1", "GET")]


def test_a_second_421_is_a_503(edge: Edge) -> None:
    name = edge.tenant()
    edge.move(name)
    edge.cells.owners[name] = "cell-3"
    refused = edge.ask(name)
    assert (refused.status, refused.header("retry-after")) == (503, RETRY_AFTER)
    assert edge.seen() == [("cell-1", "GET"), ("cell-2", "GET")]


def test_a_cell_that_is_still_the_owner_is_not_asked_twice(edge: Edge) -> None:
    name = edge.tenant()
    edge.cells.owners[name] = "cell-2"
    refused = edge.ask(name)
    assert (refused.status, refused.header("retry-after")) == (503, RETRY_AFTER)
    assert edge.seen() == [("cell-1", "GET")]


def test_a_client_can_not_say_that_it_was_misdirected(edge: Edge) -> None:
    name = edge.tenant()
    forged = [
        ("x-cellway-misdirected", b"DELETE 0 cell-1"),
        ("x-cellway-cell", b"!misdirected"),
        ("x-cellway-host", b"evil.example"),
    ]
    answered = edge.ask(name, headers=forged, host=b"misdirected.invalid")
    assert (answered.status, answered.header("x-cellway-tier")) == (200, b"edge-cache")
    (got,) = edge.cells.got
    assert (got.method, got.headers["host"]) == ("GET", "misdirected.invalid")
    assert "x-cellway-misdirected" not in got.headers


def test_a_421_of_a_native_route_is_passed_on(edge: Edge) -> None:
    name = edge.tenant()
    edge.cells.owners[name] = "cell-2"
    edge.system.use_ruleset(NATIVE)
    try:
        assert edge.ask(name, headers=[("x-pin", b"1")]).status == 421
        assert edge.seen() == [("cell-1", "GET")]
    finally:
        edge.system.use_ruleset("generic")


def test_misdirected_requests_are_counted(edge: Edge) -> None:
    def counted() -> float:
        text = edge.system.api.get("/metrics").text
        prefix = 'cellway_cache_misdirected_total{cache="edge"} '
        return sum(float(line[len(prefix) :]) for line in text.split("\n") if prefix in line)

    name, before = edge.tenant(), counted()
    edge.move(name)
    edge.ask(name)

    def is_counted() -> bool:
        edge.tenant()  # each Envoy worker reports with its next question
        return counted() > before

    wait_until(is_counted)


def test_without_an_edge_cache_a_421_is_a_503(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with TenantCells(*CELLS) as cells:
        for edge in start(tmp_path_factory.mktemp("no-cache"), cells, edge_cache_entries=0):
            name = edge.tenant()
            edge.cells.owners[name] = "cell-2"
            refused = edge.ask(name)
            assert (refused.status, refused.header("retry-after")) == (503, RETRY_AFTER)
            assert edge.seen() == [("cell-1", "GET")]
