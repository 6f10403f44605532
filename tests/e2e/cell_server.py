"""A cell in a thread: it names itself, may answer late, and lists its connections."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
from typing import Any, Self

NAME_HEADER = "x-served-by"
HEALTH_PATH = "/health"


class CellServer:
    """Listens on a loopback address, used with `with`.

    A GET of ``/wait`` is answered when a test sets `released`. With a TLS context the cell speaks
    TLS only, and a handshake that fails ends that connection.
    """

    def __init__(
        self, name: str, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.name = name
        self.tls = tls
        self.released = threading.Event()
        self.waiting = threading.Event()
        self.connections: set[Any] = set()
        self._address = (host, port)

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._server = _Server(self, self._address)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, cell: CellServer, address: tuple[str, int]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.cell = cell
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: some tests are about handshakes and connections that fail."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    disable_nagle_algorithm = True

    def setup(self) -> None:
        cell = self.server.cell
        if cell.tls is not None:
            self.request.settimeout(20)
            self.request = cell.tls.wrap_socket(self.request, server_side=True)
        super().setup()
        cell.connections.add(self.request)

    def finish(self) -> None:
        self.server.cell.connections.discard(self.request)
        super().finish()
        self.request.close()

    def do_GET(self) -> None:
        cell = self.server.cell
        if self.path == "/wait":
            cell.waiting.set()
            cell.released.wait(60)
        self._answer()

    def do_POST(self) -> None:
        left = int(self.headers["content-length"])
        while left:
            left -= len(self.rfile.read(min(left, 65536)))
        self._answer()

    def _answer(self) -> None:
        self.send_response(200)
        self.send_header(NAME_HEADER, self.server.cell.name)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Print nothing."""
