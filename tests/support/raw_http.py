"""A raw HTTP/1.1 client for tests that must send what no well-behaved client would send."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

DEFAULT_TIMEOUT_S = 20.0
RECEIVE_BYTES = 65536
MAX_RESPONSE_HEAD_BYTES = 1 << 20

STATUSES_WITHOUT_BODY = frozenset({204, 304})


class RawHttpError(RuntimeError):
    """The answer is no HTTP/1.x response, or it was cut off in the middle."""


@dataclass(frozen=True, slots=True)
class RawResponse:
    """One response: lower-case header names in their order, and the body without its chunks."""

    status: int
    headers: tuple[tuple[str, bytes], ...]
    body: bytes

    def header(self, name: str) -> bytes | None:
        """Return the first value of a header, or None."""
        return next((value for field, value in self.headers if field == name), None)

    @property
    def closes(self) -> bool:
        """Whether the server said that it closes the connection."""
        return (self.header("connection") or b"").lower() == b"close"


def request_bytes(
    target: bytes,
    headers: Iterable[tuple[str, bytes]] = (),
    *,
    method: str = "GET",
    host: bytes | None = b"localhost",
    body: bytes = b"",
) -> bytes:
    """Return the bytes of a request, with nothing checked; `host=None` leaves the Host header out.

    Header names and the method are written as Latin-1. The body is appended as it is: give
    Content-Length or Transfer-Encoding in `headers`.
    """
    lines = [method.encode("latin-1") + b" " + target + b" HTTP/1.1"]
    if host is not None:
        lines.append(b"Host: " + host)
    lines += [name.encode("latin-1") + b": " + value for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class RawConnection:
    """One TCP connection that bytes are written to and responses are read from."""

    def __init__(
        self,
        address: tuple[str, int],
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        source: str = "127.0.0.1",
    ) -> None:
        self._socket = socket.create_connection(
            address, timeout=timeout_s, source_address=(source, 0)
        )
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = bytearray()

    def send(self, data: bytes) -> None:
        """Write the bytes as they are."""
        self._socket.sendall(data)

    def finish_sending(self) -> None:
        """Close the sending half: the server sees the end, and responses still arrive."""
        self._socket.shutdown(socket.SHUT_WR)

    def exchange(self, data: bytes) -> RawResponse | None:
        """Send one request and return its final response; see `read_response`."""
        # The server may have answered and closed before it had read everything.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send(data)
        return self.read_response(to_head=data.startswith(b"HEAD "))

    def read_response(self, *, to_head: bool = False, interim: bool = False) -> RawResponse | None:
        """Return the next response, or None if the server closes the connection without one.

        1xx responses are skipped unless `interim`.

        Raises:
            TimeoutError: no response came in time.
            RawHttpError: the response was cut off, or it is not HTTP.
        """
        while True:
            head = self._read_head()
            if head is None:
                return None
            status, headers = head
            if status >= 200 or status == 101:
                return RawResponse(status, headers, self._read_body(status, headers, to_head))
            if interim:
                return RawResponse(status, headers, b"")

    def read_until(self, text: bytes, times: int = 1) -> bool:
        """Read until a text has come so often; return False if the connection ends before that."""
        while self._received.count(text) < times:
            if not self._receive():
                return False
        self._received.clear()
        return True

    def is_closed_by_peer(self) -> bool:
        """Tell whether the server ends the connection within the timeout without sending more."""
        try:
            return not self._received and not self._socket.recv(1, socket.MSG_PEEK)
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def close(self) -> None:
        """Close the connection; safe to repeat."""
        self._socket.close()

    def _receive(self) -> bool:
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except ConnectionResetError:
            return False
        self._received += data
        return bool(data)

    def _take(self, count: int) -> bytes:
        while len(self._received) < count:
            if not self._receive():
                raise RawHttpError(f"cut off: {bytes(self._received[:200])!r}")
        taken = bytes(self._received[:count])
        del self._received[:count]
        return taken

    def _take_line(self) -> bytes:
        while (end := self._received.find(b"\n")) < 0:
            if not self._receive():
                raise RawHttpError(f"cut off: {bytes(self._received[:200])!r}")
        return self._take(end + 1).rstrip(b"\r\n")

    def _read_head(self) -> tuple[int, tuple[tuple[str, bytes], ...]] | None:
        while (end := self._received.find(b"\r\n\r\n")) < 0:
            if len(self._received) > MAX_RESPONSE_HEAD_BYTES:
                raise RawHttpError("response head is too long")
            if not self._receive():
                if self._received:
                    raise RawHttpError(f"cut off: {bytes(self._received[:200])!r}")
                return None
        start, *lines = self._take(end + 4)[:-4].split(b"\r\n")
        version, _, rest = start.partition(b" ")
        if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
            raise RawHttpError(f"no status line: {start!r}")
        pairs = (line.partition(b":") for line in lines)
        return int(rest[:3]), tuple((n.decode("latin-1").lower(), v.strip()) for n, _, v in pairs)

    def _read_body(
        self, status: int, headers: tuple[tuple[str, bytes], ...], to_head: bool
    ) -> bytes:
        if to_head or status in STATUSES_WITHOUT_BODY or status == 101:
            return b""
        fields = dict(headers)
        if fields.get("transfer-encoding", b"").lower() == b"chunked":
            return b"".join(self._chunks())
        if (length := fields.get("content-length")) is not None:
            return self._take(int(length))
        while self._receive():
            pass
        return self._take(len(self._received))

    def _chunks(self) -> Iterable[bytes]:
        while size := int(self._take_line().partition(b";")[0], 16):
            yield self._take(size)
            self._take(2)
        while self._take_line():
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def exchange(
    address: tuple[str, int], data: bytes, *, timeout_s: float = DEFAULT_TIMEOUT_S
) -> RawResponse | None:
    """Send bytes over a connection of their own and return the final response."""
    with RawConnection(address, timeout_s=timeout_s) as connection:
        return connection.exchange(data)
