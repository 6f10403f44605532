"""uvicorn's HTTP protocol with bounds on connections, heads, bodies and waiting.

The problem: uvicorn waits for ever for the rest of a head or a body, reads a head of any size, and
takes any number of connections. Whoever sends a byte a minute, or nothing, holds what the process
has until it has no more.

The idea: one timer a connection, which is set anew at each step: the head must end in time, then
the body. uvicorn's own timer is for the time between two requests. Another timer runs while a
client does not read what waits for it. A step that comes too late is answered 408 where an answer
is still possible, and the connection is closed.

An example: a client sends ``POST /v1/claims HTTP/1.1`` and a header each 5 s. After 10 s it gets
408 with the code ``head-timeout``, however much more it would have sent.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from control_plane.process.http_faults import fault_of, problem_response
from control_plane.process.http_limits import OpenConnections


class _RefusedRequest(Exception):
    """A request that the parser must not go on with."""


class BoundedHttp(HttpToolsProtocol):
    """One connection of a listener with bounds."""

    def __init__(self, connections: OpenConnections, **uvicorn: Any) -> None:
        """Make the protocol of a connection.

        Args:
            connections: All connections of the listener.
            uvicorn: What uvicorn gives its own protocol.
        """
        super().__init__(**uvicorn)
        self._all = connections
        self._limits = connections.limits
        self._peer = ""
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._in_head = True
        self._in_body = False
        self._head_bytes = 0
        self._data = b""
        """What has come last."""
        self._refusal: tuple[int, str, str] | None = None
        """Status, detail and code for the request that the parser has just stopped at."""

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head, or refuse the connection (503)."""
        super().connection_made(transport)
        self._peer = self.client[0] if self.client else ""
        if why := self._all.enter(self._peer):
            self._refuse(503, f"{why}: try again later", "too-many-connections")
            return
        self._arm(self._limits.head_s, self._head_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._disarm()
        self.resume_writing()
        self._all.leave(self._peer)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what has come, as far as the bounds allow."""
        if self.transport.is_closing():
            return
        if not self._in_head and not self._in_body:
            # The first byte of a further request.
            self._begin_head()
        self._data = data
        super().data_received(data)
        if self._in_head:
            # Of a header that goes on, the parser says nothing yet.
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.head_bytes and not self.transport.is_closing():
                self._refuse(*self._too_long_head())

    def pause_writing(self) -> None:
        """Give a client that does not read its time."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self._limits.write_s, self._write_late)

    def resume_writing(self) -> None:
        """Go on: the client reads."""
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        if self.flow is not None:
            super().resume_writing()

    # The parser

    def on_message_begin(self) -> None:
        """Begin a request, unless too many wait before it."""
        if len(self.pipeline) >= self._limits.pipelined:
            self._stop(
                400,
                f"{self._limits.pipelined} requests wait already: read answers first",
                "pipelined",
            )
        if not self._in_head:
            self._begin_head()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header, with its colon and line break."""
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to wait for the end of the body."""
        self._in_head, self._in_body = False, True
        self._arm(self._limits.body_s, self._body_late)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Stop waiting."""
        self._in_body = False
        self._disarm()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - it never says why
        """Refuse what the parser has stopped at. uvicorn calls it while it handles the error."""
        fault = 400, fault_of(self._data, sys.exception()), "malformed"
        self._refuse(*(self._refusal or fault))

    # Bounds

    def _begin_head(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._arm(self._limits.head_s, self._head_late)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.head_bytes:
            self._stop(*self._too_long_head())

    def _too_long_head(self) -> tuple[int, str, str]:
        most = self._limits.head_bytes
        text = f"request line and headers are larger than {most} bytes: send fewer or shorter ones"
        return 431, text, "head-too-large"

    def _stop(self, status: int, detail: str, code: str) -> None:
        self._refusal = status, detail, code
        raise _RefusedRequest(detail)

    def _head_late(self) -> None:
        seconds = self._limits.head_s
        self._refuse(
            408, f"the head did not end within {seconds:g} s: send it at once", "head-timeout"
        )

    def _body_late(self) -> None:
        seconds = self._limits.body_s
        self._refuse(
            408, f"the body did not end within {seconds:g} s: send less at a time", "body-timeout"
        )

    def _write_late(self) -> None:
        self._all.refused("write-timeout")
        self.transport.abort()

    def _refuse(self, status: int, detail: str, code: str) -> None:
        """Answer with a problem if no other answer has begun, and close the connection."""
        self._all.refused(code)
        self._disarm()
        # Of a request whose body is late, nothing may have been answered; a request before it may.
        begun = self.cycle is not None and (
            self.cycle.response_started if self._in_body else not self.cycle.response_complete
        )
        if not begun and not self.transport.is_closing():
            self.transport.write(problem_response(status, detail, code))
        self.transport.close()

    def _arm(self, seconds: float, late: Any) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, late)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
