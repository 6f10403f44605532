"""The addon in mitmproxy's other modes, and cells with TLS."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.addons.mitmdump import logging_mitmdump, mitmdump, server_of
from tests.support.certificates import Authority
from tests.support.system import System

REVERSE = "reverse:http://127.0.0.1:1"
HOST = {"host": "gitlab.example.com"}


class Cell(BaseHTTPRequestHandler):
    """Answers every GET."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b"cell with TLS"
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def tls_cell(folder: Path) -> Iterator[int]:
    """Serve a cell whose certificate is for c.example; yield its port."""
    authority = Authority()
    pair = authority.sign(dns=("c.example",))
    for name, content in (("crt", pair.certificate), ("key", pair.key), ("ca", authority.pem)):
        (folder / name).write_bytes(content)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "crt", folder / "key")
    with ThreadingHTTPServer(("127.0.0.1", 0), Cell) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("modes"), cells=2) as running:
        running.add_cells()
        running.claim("cell-2", "route:acme")
        running.use_ruleset("gitlab")
        running.in_step()
        yield running


def test_a_cells_certificate_is_checked_for_the_cells_name(system: System, tmp_path: Path) -> None:
    with tls_cell(tmp_path) as port:
        system.add_cell(
            "tls", port, tls={"server_name": "c.example", "ca_file": str(tmp_path / "ca")}
        )
        system.claim("tls", "route:secure")
        trust = ("--set", f"ssl_verify_upstream_trusted_ca={tmp_path / 'ca'}")
        with mitmdump(system, REVERSE, tmp_path, *trust) as trusting:
            url = f"http://127.0.0.1:{trusting}/secure/x"
            assert httpx.get(url, headers=HOST, trust_env=False).text == "cell with TLS"
        with logging_mitmdump(REVERSE, tmp_path, *server_of(system)) as running:
            url = f"http://127.0.0.1:{running.port}/secure/x"
            assert httpx.get(url, headers=HOST, trust_env=False).status_code == 502
            assert "set ssl_verify_upstream_trusted_ca" in running.line("failed")


def test_an_observed_flow_goes_where_it_would_have_gone(system: System, tmp_path: Path) -> None:
    target = f"127.0.0.1:{system.cell_ports['cell-1']}"
    observing = ("--set", "cellway_mode=observe", *server_of(system))
    with logging_mitmdump(f"reverse:http://{target}", tmp_path, *observing) as running:
        url = f"http://127.0.0.1:{running.port}/acme/x"
        answer = httpx.get(url, headers=HOST, trust_env=False).json()
        assert answer["cell"] == "cell-1"
        assert ["host", target] in answer["headers"]
        assert not [name for name, _ in answer["headers"] if name.startswith("x-")]
        assert "-> would go to cell-2 by route" in running.line("GET gitlab.example.com/acme/x")


def test_a_cell_is_reached_through_another_proxy(system: System, tmp_path: Path) -> None:
    observing = ("--set", "cellway_mode=observe")
    with (
        mitmdump(system, "regular", tmp_path, *observing) as other,
        mitmdump(system, f"upstream:http://127.0.0.1:{other}", tmp_path) as port,
        httpx.Client(proxy=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        answer = client.get("http://gitlab.example.com/acme/x").json()
    assert answer["cell"] == "cell-2"
    assert dict(answer["headers"])["host"] == "gitlab.example.com"
    assert dict(answer["headers"])["x-cellway-cell"] == "cell-2"
