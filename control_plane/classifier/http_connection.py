"""One connection from an edge to the classifier: HTTP/1.1 as Envoy speaks it.

httptools parses the requests and calls a method for each of their parts. Two senders use the same
protocol. The edge's ext_authz filter repeats the client's method, path and headers, and understands
an answer of several headers. The edge's cache (a Lua script) can send few methods, so it sends the
client's in `METHOD_HEADER`; it says in `KNOWN_HEADER` which changes it knows of; and it wants its
answer in one header. Each question carries the edge's secret, which Envoy adds as it sends it (see
`compiler.edge_secret`). For example::

    GET /acme/app HTTP/1.1              GET /acme/app HTTP/1.1
    host: www.example                   host: www.example
    cookie: a=b                         x-cellway-method: PURGE
    x-cellway-edge-secret: 5d0a…        x-cellway-known: 90 0f3c5a7e9b1d2468
                                        x-cellway-edge-secret: 5d0a…

    HTTP/1.1 200 OK                     HTTP/1.1 204 No Content
    content-length: 0                   x-cellway-answer: cell-2 tenant 92 60000 7
    x-cellway-cell: cell-2
    x-cellway-rule: tenant
    x-cellway-tier: classifier
    x-cellway-cache: 92 60000 7
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
from collections import deque
from dataclasses import dataclass, field

import httptools

from control_plane import names
from control_plane.classifier.answerer import Answerer, forbidden, unable
from control_plane.classifier.authentication import NO_EDGE, Authentication
from control_plane.classifier.cache.tiered import CachedLookup
from control_plane.classifier.connections import Connection, Connections, Peer
from control_plane.process.http_faults import TLS_HANDSHAKE, fault_of, problem_response
from control_plane.routing.model import Request

log = logging.getLogger(__name__)
MAX_REQUEST_BYTES = 256 * 1024
"""The size of one request. The heads that Envoy sends have at most 60 KiB."""
MAX_PIPELINED = 64
"""How many requests may come at once. Envoy sends the next one when it has the answer."""
HEAD_S = 30.0
"""How long a request may take to arrive as a whole."""
IDLE_S = 2 * 3600.0
"""How long a connection may stay unused. Envoy gives up after an hour, so it closes first."""
METHOD_HEADER = names.METHOD_HEADER.encode()
"""The client's method. No client can send this header itself: the edge removes it."""
COUNTS_HEADER = names.COUNTS_HEADER.encode()
SECRET_HEADER = names.EDGE_SECRET_HEADER.encode()
KNOWN_HEADER = names.KNOWN_HEADER.encode()
"""The newest revision among the floor and the epochs that the edge has, or ``-`` if it has none.

The edge may be answered from the classifier's caches, with nothing older than that revision. After
a space comes the digest of the ruleset to decide by; without it, the active one decides.
"""
_REVISION = re.compile(rb"[0-9]{1,18}")
_MAX_PARSED = 256
_PARSED: dict[bytes, tuple[int | None, str | None]] = {}
"""The revision and the digest by the value of `KNOWN_HEADER`: all edges send the same few."""
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LINE = re.compile(rb"(%b) (/[!-~\x80-\xff]*) HTTP/1\.1\r\n" % _METHOD.pattern)
"""A first line that Envoy may send, even one that the parser refuses.

HTTP/2 allows any method, and any byte in a query.
"""
_MAX_NAMES = 1024
_NAMES: dict[bytes, str] = {SECRET_HEADER: ""}
"""Names of headers as the evaluator has them. To look one up costs less than to convert it.

The name of the secret's header stands for none, so that the others need no further comparison.
"""
_TOO_LARGE = problem_response(
    431, f"a question is larger than {MAX_REQUEST_BYTES} bytes: send fewer headers", "too-large"
)
_TOO_MANY = problem_response(
    429, f"{MAX_PIPELINED} questions came at once: read answers first", "pipelined"
)
_FORBIDDEN = forbidden(NO_EDGE)
_FAILED = unable("the classifier failed")


def _parse_known(value: bytes) -> tuple[int | None, str | None]:
    """Return the revision and the digest in a `KNOWN_HEADER`, and remember them in `_PARSED`."""
    revision, _, digest = value.partition(b" ")
    at_least = int(revision) if _REVISION.fullmatch(revision) else None
    parsed = at_least, digest.decode("latin-1") or None
    if len(_PARSED) >= _MAX_PARSED:
        _PARSED.clear()
    _PARSED[value] = parsed
    return parsed


@dataclass(frozen=True, slots=True)
class Port:
    """What all connections of a server share."""

    answerer: Answerer
    authentication: Authentication
    connections: Connections
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    """Those that answer questions."""


class HttpConnection(Connection):
    """One connection of an edge. Questions on it are answered in the order in which they come."""

    __slots__ = (
        *("_answerer", "_at_least", "_authority", "_between", "_burst", "_cache", "_closing"),
        *("_connected", "_counts", "_digest", "_headers", "_line", "_method", "_parser", "_peer"),
        *("_port", "_proven", "_queue", "_received", "_shown", "_socket", "_start", "_transport"),
        *("_url", "_waited_s"),
    )

    def __init__(self, port: Port, peer: Peer, sock: socket.socket) -> None:
        """Make the connection of a peer; ``sock`` is that of its transport."""
        self._port = port
        self._answerer = port.answerer
        self._peer = peer
        self._socket = sock
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._connected = False
        self._proven: bytes | None = None
        """The secret that this connection has shown; it counts until `distrust`."""
        self._received = 0
        self._waited_s = 0.0
        self._burst = 0
        self._closing = False
        self._queue: deque[tuple[Request, int | None, str | None, bool]] = deque()
        self.on_message_begin()
        self._between = True
        self._start = b""
        self._line: tuple[str, bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's is no subclass
        self._connected = True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the connection."""
        self._port.connections.closed(self)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, which calls the methods below."""
        self._received += len(data)
        self._burst = 0
        if self._between:
            if not self._start:
                self._waited_s = 0.0
            data = self._readable(self._start + data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            log.exception(
                "a question can't be answered: the classifier failed", exc_info=error.__context__
            )
            self._refuse(_FAILED)
        except httptools.HttpParserUpgrade:
            # The question itself is answered, but nothing is upgraded here.
            self._close_after_answers()
        except httptools.HttpParserError as error:
            self._refuse(problem_response(400, fault_of(data, error), "malformed"))
        if self._received > MAX_REQUEST_BYTES:
            self._refuse(_TOO_LARGE)

    def _readable(self, data: bytes) -> bytes:
        """Return the beginning of a question with a first line that the parser accepts.

        Nearly always it is the data as it is. A line that the parser would refuse is replaced, and
        its method and path are kept in ``_line``. While the line is incomplete, return nothing.
        """
        self._start = b""
        if data.startswith(b"GET /") and b" HTTP/1.1\r\n" in data and data.isascii():
            return data
        if b"\n" not in data:
            if data.startswith(TLS_HANDSHAKE):
                # It may never have a line's end, and somebody waits to be told.
                return data
            self._start = data
            return b""
        line = _LINE.match(data)
        if line is None:
            return data
        self._line = line[1].decode("ascii"), line[2]
        return b"GET / HTTP/1.1\r\n" + data[line.end() :]

    def pause_writing(self) -> None:
        """Read no further questions from a sender that does not read its answers."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on reading questions."""
        self._transport.resume_reading()

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._between = False
        self._url = b""
        self._authority = b""
        self._method: str | None = None
        self._at_least: int | None = None
        self._digest: str | None = None
        self._cache = False
        self._shown: bytes | None = None
        self._counts: bytes | None = None
        self._headers: list[tuple[str, bytes]] = []

    def on_url(self, url: bytes) -> None:
        """Take a part of the path and query."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        if name == b"host":
            self._authority = value
            return
        if name == KNOWN_HEADER:
            self._cache = True
            self._at_least, self._digest = _PARSED.get(value) or _parse_known(value)
            return
        lower = _NAMES.get(name)
        if not lower:
            if lower is not None:
                self._shown = value
                return
            lower = name.lower().decode("latin-1")
            if lower == "host":
                self._authority = value
                return
            if lower.startswith(names.INTERNAL_PREFIX):
                self._take_internal(name, value)
                return
            # No stranger may fill the table.
            if self._proven is not None and len(_NAMES) < _MAX_NAMES:
                _NAMES[name] = lower
        self._headers.append((lower, value))

    def _take_internal(self, name: bytes, value: bytes) -> None:
        """Take a header of the edge's own, which no rule sees."""
        if name == METHOD_HEADER and _METHOD.fullmatch(value):
            self._method = value.decode("ascii")
        elif name == COUNTS_HEADER:
            self._counts = value

    def on_message_complete(self) -> None:
        """Answer the request, now that all of it is here."""
        self._received = 0
        self._waited_s = 0.0
        self._between = True
        line, self._line = self._line, None
        if self._transport.is_closing():
            return
        # What it has shown once needs no comparison in constant time: it knows it.
        if (self._shown is None or self._shown != self._proven) and not self._admitted():
            self._refuse(_FORBIDDEN)
            return
        self._burst += 1
        if self._burst > MAX_PIPELINED:
            self._refuse(_TOO_MANY)
            return
        if self._counts is not None and self._proven is not None and self._peer.may_report():
            self._answerer.observer.edge_counted(self._counts)
        method, url = line or (self._parser.get_method().decode("ascii"), self._url)
        request = Request(self._method or method, self._authority, url, tuple(self._headers))
        if self._answerer.lookup is None:
            answer = self._answerer.answer(request, self._digest, cache=self._cache)
            self._transport.write(answer)
        else:
            self._queue.append((request, self._at_least, self._digest, self._cache))
            if len(self._queue) == 1:
                self._start_answering(self._answerer.lookup)
        if not self._parser.should_keep_alive():
            self._close_after_answers()

    def _admitted(self) -> bool:
        """Return whether to answer a question with another secret than before, or without one."""
        authentication, shown = self._port.authentication, self._shown
        if shown is not None and authentication.is_secret(shown):
            self._proven = shown
        elif not authentication.admits(shown, self._peer.address):
            return False
        self._port.connections.proven(self)
        return True

    def _start_answering(self, lookup: CachedLookup) -> None:
        # Envoy sends no further question before it has the answer. Other senders can wait.
        self._transport.pause_reading()
        task = asyncio.create_task(self._answer_queue(lookup))
        self._port.tasks.add(task)
        task.add_done_callback(self._end_answering)

    async def _answer_queue(self, lookup: CachedLookup) -> None:
        while self._queue:
            request, at_least, digest, cache = self._queue[0]
            answer = await self._answerer.answer_async(
                lookup, request, at_least, digest, cache=cache
            )
            self._queue.popleft()
            if self._transport.is_closing():
                return
            self._transport.write(answer)
        if self._closing:
            self._transport.close()
        else:
            self._transport.resume_reading()

    def _end_answering(self, task: asyncio.Task[None]) -> None:
        self._port.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a question can't be answered: the classifier failed", exc_info=error)
            self._refuse(_FAILED)

    def _close_after_answers(self) -> None:
        self._closing = True
        if not self._queue:
            self._transport.close()

    def _refuse(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)
            self._transport.close()

    def waited(self, seconds: float) -> None:
        """Close after `IDLE_S` without a request, and within one when it has taken `HEAD_S`."""
        self._waited_s += seconds
        if self._waited_s > (IDLE_S if self._between and not self._start else HEAD_S):
            self.close()

    def distrust(self) -> None:
        """Have the next question show its secret again, as if it were the first."""
        self._proven = None

    def close(self) -> None:
        """Send the answers that there are, then close."""
        if self._connected:
            self._transport.close()
        else:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        if self._connected:
            self._transport.abort()
            return
        # During the TLS handshake asyncio has the socket, and closes it when nothing more comes.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
