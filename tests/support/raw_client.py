"""A client with a kept-alive HTTP/1.1 connection, opened again after the edge has closed it."""

from __future__ import annotations

import socket
from typing import Any, Self


class RawClient:
    """Sends exactly the given bytes; used with `with`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._file: Any = None
        self._sock: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._sock is not None:
            self._file.close()
            self._sock.close()
            self._sock = None

    def ask(
        self,
        target: bytes,
        headers: list[tuple[str, bytes]] | None = None,
        *,
        method: str = "GET",
        host: bytes = b"gitlab.example.com",
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request; return status (0: closed without an answer), headers and body."""
        lines = [method.encode() + b" " + target + b" HTTP/1.1", b"host: " + host]
        lines += [name.encode() + b": " + value for name, value in headers or []]
        request = b"\r\n".join(lines) + b"\r\n\r\n"
        for _ in range(2):
            if self._sock is None:
                self._sock = socket.create_connection(("127.0.0.1", self._port), timeout=20)
                self._file = self._sock.makefile("rb")
            try:
                self._sock.sendall(request)
                answer = self._read(has_body=method != "HEAD")
            except (ConnectionError, EOFError):
                # The edge had closed the kept-alive connection; a second try is a fresh one.
                self._close()
                continue
            return answer
        return 0, {}, b""

    def _read(self, *, has_body: bool) -> tuple[int, dict[str, str], bytes]:
        status_line = self._file.readline()
        if not status_line:
            raise EOFError
        headers: dict[str, str] = {}
        while (line := self._file.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            headers[name.decode().lower()] = value.strip().decode("latin-1")
        body = self._file.read(int(headers.get("content-length", "0")) if has_body else 0)
        if headers.get("connection") == "close":
            self._close()
        return int(status_line.split()[1]), headers, body
