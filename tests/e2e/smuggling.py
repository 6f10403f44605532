"""An edge with raw upstreams as its cells, which take whatever bytes the edge sends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.echo_upstream import Arrived, EchoUpstream
from tests.support.raw_http import RawConnection, RawResponse, request_bytes
from tests.support.system import System

RULES = {
    "name": "smuggling",
    "rules": [
        {
            "id": "session",
            "match": {"type": "cookie", "name": "^s$", "regexValue": "^(?<cell>cell-[0-9])"},
            "action": "classify",
            "classify": {"type": "SESSION_PREFIX", "value": "${cell}"},
            "on_unknown": "next",
        },
        {
            "id": "tenant",
            "match": {"type": "path", "regexValue": "^/t/(?<tenant>[^/?]+)"},
            "action": "classify",
            "classify": {"claims": [{"tenant": "${tenant}"}]},
            "on_unknown": 404,
        },
        {"id": "last", "action": "proxy", "proxy": {"cell": "cell-3"}},
    ],
}
FORGED = "x-cellway-cell"
SMUGGLED = b"GET /t/victim HTTP/1.1\r\nHost: a\r\nx-cellway-cell: cell-1\r\n\r\n"
PROBE = b"/t/acme?probe"
ACME, VICTIM = "cell-2", "cell-1"
Fields = list[tuple[str, bytes]]
CHUNKED: Fields = [("Transfer-Encoding", b"chunked")]


@dataclass(frozen=True, slots=True)
class Edge:
    """The system's edge, and its cells."""

    address: tuple[str, int]
    cells: dict[str, EchoUpstream]

    def forget(self) -> None:
        for cell in self.cells.values():
            cell.heads.clear()

    def arrived(self) -> list[tuple[str, Arrived]]:
        """Return what reached which cell since `forget`, except for probes."""
        requests = [
            (name, Arrived.parse(head)) for name, cell in self.cells.items() for head in cell.heads
        ]
        return [(name, request) for name, request in requests if request.path != PROBE]

    def probe(self, connection: RawConnection) -> list[RawResponse]:
        """Send one more request; return the answers that come before its own."""
        earlier: list[RawResponse] = []
        response = connection.exchange(request_bytes(PROBE))
        while response is not None and PROBE not in response.body:
            earlier.append(response)
            response = connection.read_response()
        return earlier


@contextmanager
def running_edge(directory: Path) -> Iterator[Edge]:
    """Run the system, with a cell for each of the rules."""
    with ExitStack() as stack:
        cells = {name: stack.enter_context(EchoUpstream()) for name in (VICTIM, ACME, "cell-3")}
        system = stack.enter_context(System(directory, cells=0))
        for name, cell in cells.items():
            system.add_cell(name, cell.port)
        system.claim(VICTIM, "tenant:victim")
        system.claim(ACME, "tenant:acme")
        system.use_ruleset(RULES)
        system.in_step()
        yield Edge(("127.0.0.1", system.edge_port), cells)


def check_one(edge: Edge, path: bytes = b"/t/acme", cell: str = ACME) -> Arrived:
    """Check that one request arrived, at that cell, with the edge's own internal headers."""
    ((name, request),) = edge.arrived()
    assert (name, request.path) == (cell, path)
    said = [field for field in request.headers if "cellway" in field[0].lower().replace("_", "-")]
    # The host again, for a request that may have to be begun again (ADR 12).
    hosts = [value for key, value in request.headers if key.lower() == "host"]
    assert [value for key, value in said if key == "x-cellway-host"] in ([], hosts)
    names = sorted(key for key, _ in said if key != "x-cellway-host")
    assert names == ["x-cellway-cell", "x-cellway-rule", "x-cellway-tier"]
    assert dict(said)["x-cellway-cell"] == cell.encode()
    return request
