"""An HTTP/2 client for tests that must send header blocks no real client would send."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)

from tests.support.raw_http import DEFAULT_TIMEOUT_S, RECEIVE_BYTES, RawResponse


@dataclass(frozen=True, slots=True)
class Http2Refusal:
    """The server gave no response: it reset the stream or ended the connection."""

    connection_ended: bool
    error_code: int | None


class RawHttp2Connection:
    """One HTTP/2 connection with prior knowledge; nothing that is sent gets checked."""

    def __init__(
        self,
        address: tuple[str, int],
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._socket = socket.create_connection(address, timeout=timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self._socket = tls.wrap_socket(self._socket, server_hostname="localhost")
        self._h2 = H2Connection(
            H2Configuration(
                client_side=True,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                validate_inbound_headers=False,
            )
        )
        self._h2.initiate_connection()
        self.ended = False

    def exchange(
        self,
        headers: Sequence[tuple[bytes, bytes]],
        *,
        body: bytes = b"",
        trailers: Sequence[tuple[bytes, bytes]] = (),
    ) -> RawResponse | Http2Refusal:
        """Send one header block (pseudo headers included, in order) and return the answer.

        Raises:
            TimeoutError: no answer came in time.
        """
        stream = self._h2.get_next_available_stream_id()
        only_headers = not body and not trailers
        self._h2.send_headers(stream, list(headers), end_stream=only_headers)
        if body or trailers:
            self._h2.send_data(stream, body, end_stream=not trailers)
        if trailers:
            self._h2.send_headers(stream, list(trailers), end_stream=True)
        try:
            self._flush()
            return self._read_answer(stream)
        except (BrokenPipeError, ConnectionResetError):
            return self._end(None)

    def _read_answer(self, stream: int) -> RawResponse | Http2Refusal:
        status, body = 0, bytearray()
        fields: tuple[tuple[str, bytes], ...] = ()
        while True:
            for event in self._receive():
                if isinstance(event, ConnectionTerminated):
                    return self._end(int(event.error_code or 0))
                if getattr(event, "stream_id", None) != stream:
                    continue
                if isinstance(event, ResponseReceived):
                    status, fields = _take_apart(event)
                elif isinstance(event, DataReceived):
                    body += event.data or b""
                elif isinstance(event, StreamEnded):
                    return RawResponse(status, fields, bytes(body))
                elif isinstance(event, StreamReset):
                    return Http2Refusal(False, int(event.error_code or 0))
            if self.ended:
                return Http2Refusal(True, None)

    def _receive(self) -> list[Event]:
        data = self._socket.recv(RECEIVE_BYTES)
        if not data:
            self.ended = True
            return []
        events = self._h2.receive_data(data)
        for event in events:
            if isinstance(event, DataReceived):
                length = event.flow_controlled_length or 0
                self._h2.acknowledge_received_data(length, event.stream_id or 0)
        self._flush()
        return events

    def _flush(self) -> None:
        if data := self._h2.data_to_send():
            self._socket.sendall(data)

    def _end(self, error_code: int | None) -> Http2Refusal:
        self.ended = True
        return Http2Refusal(True, error_code)

    def close(self) -> None:
        """Close the connection; safe to repeat."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _take_apart(event: ResponseReceived) -> tuple[int, tuple[tuple[str, bytes], ...]]:
    pairs = [(bytes(name), bytes(value)) for name, value in event.headers or ()]
    status = next(int(value) for name, value in pairs if name == b":status")
    return status, tuple((n.decode("latin-1"), v) for n, v in pairs if not n.startswith(b":"))
