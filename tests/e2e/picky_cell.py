"""A cell that answers health checks by user agent: Envoy's check and our own probe may differ."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

ENVOY = "Envoy/HC"
OURS = "cellway-health"


class PickyCell:
    """A cell in a thread of its own, on a free loopback port; used with `with`.

    The health check answers 500 to a user agent in ``refused``, and to all others 200 or the bytes
    of ``raw``. Every other path answers 200, with the cell's name in ``x-example-cell``.
    """

    def __init__(self, name: str, *refused: str, raw: bytes | None = None) -> None:
        self.name = name
        self.raw = raw
        self.refused = set(refused)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.port = self._server.server_address[1]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        cell = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                agent = self.headers.get("user-agent", "")
                asked = self.path == "/-/health"
                if asked and cell.raw is not None:
                    self.wfile.write(cell.raw)
                    self.close_connection = True
                    return
                self.send_response(500 if asked and agent in cell.refused else 200)
                self.send_header("content-length", "0")
                self.send_header("x-example-cell", cell.name)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
