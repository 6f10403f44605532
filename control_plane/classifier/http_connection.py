"""One connection from an edge to the classifier: HTTP/1.1 as Envoy speaks it.

httptools parses the requests and calls a method for each of their parts. Two senders use the same
protocol. The edge's ext_authz filter repeats the client's method, path and headers, and understands
an answer of several headers. The edge's cache (a Lua script) can send few methods, so it sends the
client's in `METHOD_HEADER`; it says in `KNOWN_HEADER` which changes it knows of; and it wants its
answer in one header. For example::

    GET /acme/app HTTP/1.1              GET /acme/app HTTP/1.1
    host: www.example                   host: www.example
    cookie: a=b                         x-cellway-method: PURGE
                                        x-cellway-known: 90 0f3c5a7e9b1d2468

    HTTP/1.1 200 OK                     HTTP/1.1 204 No Content
    content-length: 0                   x-cellway-answer: cell-2 tenant 92 60000 7
    x-cellway-cell: cell-2
    x-cellway-rule: tenant
    x-cellway-tier: classifier
    x-cellway-cache: 92 60000 7
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from dataclasses import dataclass, field

import httptools

from control_plane import names
from control_plane.classifier.answerer import Answerer, unable
from control_plane.classifier.cache.tiered import CachedLookup
from control_plane.process.http_faults import TLS_HANDSHAKE, fault_of, problem_response
from control_plane.routing.model import Request

log = logging.getLogger(__name__)
MAX_REQUEST_BYTES = 256 * 1024
"""The size of one request. The heads that Envoy sends have at most 60 KiB."""
MAX_CONNECTIONS = 4096
HEAD_S = 30.0
"""How long a request may take to arrive."""
IDLE_S = 2 * 3600.0
"""How long a connection may stay unused. Envoy gives up after an hour, so it closes first."""
METHOD_HEADER = names.METHOD_HEADER.encode()
"""The client's method. No client can send this header itself: the edge removes it."""
COUNTS_HEADER = names.COUNTS_HEADER.encode()
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
_NAMES: dict[bytes, str] = {}
"""Names of headers as the evaluator has them. To look one up costs less than to convert it."""
_TOO_LARGE = problem_response(
    431, f"a question is larger than {MAX_REQUEST_BYTES} bytes: send fewer headers", "too-large"
)
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


@dataclass(slots=True)
class OpenConnections:
    """The connections of a server, and its tasks that answer their questions."""

    connections: set[HttpConnection] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class HttpConnection(asyncio.Protocol):
    """One connection of an edge. Questions on it are answered in the order in which they come."""

    __slots__ = (
        *("_answerer", "_at_least", "_authority", "_between", "_cache", "_closing", "_digest"),
        *("_headers", "_line", "_method", "_open", "_parser", "_queue", "_quiet_s", "_received"),
        *("_start", "_transport", "_url"),
    )

    def __init__(self, answerer: Answerer, open_connections: OpenConnections) -> None:
        self._answerer = answerer
        self._open = open_connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._received = 0
        self._quiet_s = 0.0
        self._closing = False
        self._queue: deque[tuple[Request, int | None, str | None, bool]] = deque()
        self.on_message_begin()
        self._between = True
        self._start = b""
        self._line: tuple[str, bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; close it at once if there are `MAX_CONNECTIONS` already."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's is no subclass
        if len(self._open.connections) >= MAX_CONNECTIONS:
            log.warning("a connection is refused: there are %d already", MAX_CONNECTIONS)
            transport.close()
            return
        self._open.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the connection."""
        self._open.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, which calls the methods below."""
        self._quiet_s = 0.0
        self._received += len(data)
        if self._between:
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
        if lower is None:
            lower = name.lower().decode("latin-1")
            if lower == "host":
                self._authority = value
                return
            if lower.startswith(names.INTERNAL_PREFIX):
                self._take_internal(name, value)
                return
            if len(_NAMES) < _MAX_NAMES:
                _NAMES[name] = lower
        self._headers.append((lower, value))

    def _take_internal(self, name: bytes, value: bytes) -> None:
        """Take a header of the edge's own, which no rule sees."""
        if name == METHOD_HEADER and _METHOD.fullmatch(value):
            self._method = value.decode("ascii")
        elif name == COUNTS_HEADER:
            self._answerer.observer.edge_counted(value)

    def on_message_complete(self) -> None:
        """Answer the request, now that all of it is here."""
        self._received = 0
        self._between = True
        line, self._line = self._line, None
        if self._transport.is_closing():
            return
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

    def _start_answering(self, lookup: CachedLookup) -> None:
        # Envoy sends no further question before it has the answer. Other senders can wait.
        self._transport.pause_reading()
        task = asyncio.create_task(self._answer_queue(lookup))
        self._open.tasks.add(task)
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
        self._open.tasks.discard(task)
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

    def close_if_idle(self, seconds: float) -> None:
        """Add seconds of silence; close after `IDLE_S` of it, within a request after `HEAD_S`."""
        self._quiet_s += seconds
        if self._quiet_s > (HEAD_S if self._received else IDLE_S):
            self.close()

    def close(self) -> None:
        """Send the answers that there are, then close."""
        self._transport.close()
