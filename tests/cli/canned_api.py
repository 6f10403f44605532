"""A server that answers as a test says, for answers that a real one gives only when things go wrong."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from control_plane.cli.client import Client


class CannedApi:
    """Answers each path with a status and a body: bytes, or what becomes JSON."""

    def __init__(self, answers: dict[str, tuple[int, Any]]) -> None:
        self.answers = answers
        self.url = ""

    @contextlib.contextmanager
    def running(self) -> Iterator[CannedApi]:
        answers = self.answers

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self._answer()

            def _answer(self) -> None:
                status, body = answers[self.path]
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                if isinstance(body, dict) and status >= 400:
                    self.send_header("content-type", "application/problem+json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            self.url = f"http://127.0.0.1:{server.server_port}"
            yield self
            server.shutdown()


@contextlib.contextmanager
def client_of(answers: dict[str, tuple[int, Any]]) -> Iterator[Client]:
    """Yield a client of a server with these answers."""
    with CannedApi(answers).running() as api:
        client = Client(api.url, "token")
        yield client
        client.close()
