"""What may listen where ``cellway`` expects its API: other programs, and none that speaks HTTP."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

_HTML = b"<!doctype html><title>Router</title>"
ANSWERS = {
    "html": (b"200 OK", b"content-type: text/html", _HTML),
    "html 404": (b"404 Not Found", b"content-type: text/html", _HTML),
    "another API": (b"200 OK", b"content-type: application/json", b'{"items": ["a"], "x": 1}'),
    "a list": (b"200 OK", b"content-type: application/json", b"[1, 2]"),
    "other objects": (b"200 OK", b"content-type: application/json", b'{"items": [{"x": 1}]}'),
    "no JSON": (b"200 OK", b"content-type: application/json", b"\xff{"),
    "a redirect": (b"302 Found", b"location: https://login.example/", b""),
    "a gateway": (b"502 Bad Gateway", b"content-type: text/plain", b"upstream \x1b[31mgone"),
}
RAW = {"garbage": b"SSH-2.0-OpenSSH_9.6\r\n", "closes": b"", "hangs": None}
"""What is sent without regard to what is asked; None: nothing, and the connection stays open."""


@contextlib.contextmanager
def listening(kind: str) -> Iterator[str]:
    """Run a server of a kind; yield its URL."""
    answer = _answer(kind)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        threading.Thread(target=_serve, args=(sock, answer), daemon=True).start()
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


def _answer(kind: str) -> bytes | None:
    if kind in RAW:
        return RAW[kind]
    status, header, body = ANSWERS[kind]
    length = b"content-length: %d" % len(body)
    head = b"\r\n".join([b"HTTP/1.1 " + status, header, length, b"connection: close"])
    return head + b"\r\n\r\n" + body


def _serve(sock: socket.socket, answer: bytes | None) -> None:
    held: list[socket.socket] = []
    with contextlib.suppress(OSError):
        while True:
            connection, _ = sock.accept()
            with contextlib.suppress(OSError):
                connection.recv(65536)
                if answer is None:
                    held.append(connection)
                    continue
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)
            connection.close()
