"""ext_authz over HTTP: straight on httptools and the event loop, because this is the hot path.

Envoy sends the client's method (in `METHOD_HEADER`, where its cache asks), path and the headers
that the ruleset uses; the answer is always 200 with the decision in headers. Any other answer means
that the classifier could not decide. An ASGI server costs more than the decision itself (see
`bench/classifier.py`).
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import time
from collections import deque

import httptools

from control_plane import names
from control_plane.classifier.answer import Answers, Observer
from control_plane.classifier.cache.tiered import CachedLookup
from control_plane.classifier.decide import LiveView, Verdict
from control_plane.classifier.failures import FAILURES, Failures, Reason
from control_plane.routing.model import Request

log = logging.getLogger(__name__)
MAX_REQUEST_BYTES = 256 * 1024
"""Of one request; Envoy's own heads have 60 KiB at the most."""
MAX_CONNECTIONS = 4096
HEAD_S = 30.0
"""How long a request may take to arrive."""
IDLE_S = 2 * 3600.0
"""How long a connection may stay unused: Envoy, which gives up after an hour, closes first."""
_SWEEP_S = 10.0
METHOD_HEADER = names.METHOD_HEADER.encode()
"""The client's method, from an edge that can't send each. No client can send it: see the edge."""
COUNTS_HEADER = names.COUNTS_HEADER.encode()
KNOWN_HEADER = names.KNOWN_HEADER.encode()
"""The newest revision among floor and epochs that the edge runs with, or ``-`` if it has none yet.
Who sends one may be answered from the cache; nothing older than that is used. After a space comes
the digest of the ruleset to decide by; without it, the active one decides. And who sends this
header is an edge's script, which wants its answer in one header."""
_REVISION = re.compile(rb"[0-9]{1,18}")
MAX_KNOWN = 256
_KNOWN: dict[bytes, tuple[int | None, str | None]] = {}
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LINE = re.compile(rb"(%b) (/[!-~\x80-\xff]*) HTTP/1\.1\r\n" % _METHOD.pattern)
"""What Envoy may send and the parser refuses: HTTP/2 has any method, and any byte in a query."""
MAX_NAMES = 1024
_NAMES: dict[bytes, str] = {}
"""Headers' names as the evaluator has them: to look one up is cheaper than to convert it."""
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 431 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def unable(why: str) -> bytes:
    """The answer of a classifier that can't decide now."""
    head = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0"
    return f"{head}\r\n{names.ERROR_HEADER}: {why}\r\n\r\n".encode("ascii", "replace")


_UNABLE = {reason: unable(reason.value) for reason in Reason}
_FAILED = unable("the classifier failed")


def _read_known(value: bytes) -> tuple[int | None, str | None]:
    """The revision and the digest in a `KNOWN_HEADER`, kept for all who send the same."""
    known, _, digest = value.partition(b" ")
    read = int(known) if _REVISION.fullmatch(known) else None, digest.decode("latin-1") or None
    if len(_KNOWN) >= MAX_KNOWN:
        _KNOWN.clear()
    _KNOWN[value] = read
    return read


class ClassifierServer:
    """Answers questions on a listening socket."""

    def __init__(
        self, view: LiveView, observer: Observer, lookup: CachedLookup | None = None
    ) -> None:
        """With ``lookup``, claims are looked up by it and nothing blocks; else ``view`` does it."""
        self.view = view
        self.lookup = lookup
        self.failures = Failures(observer)
        self.answering: set[asyncio.Task[None]] = set()
        self.answers = Answers()
        self.observer = observer
        self.connections: set[_Connection] = set()

    async def run(self, sock: socket.socket) -> None:
        """Serve until cancelled; then connections are closed, with what has been answered sent."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(self), sock=sock)
        try:
            while True:
                await asyncio.sleep(_SWEEP_S)
                for connection in tuple(self.connections):
                    connection.close_if_idle(_SWEEP_S)
        finally:
            server.close()
            for task in tuple(self.answering):
                task.cancel()
            for connection in tuple(self.connections):
                connection.close()

    def answer(self, request: Request, digest: str | None, *, cache: bool) -> bytes:
        """The whole response to a question, of an edge's ``cache`` or of its ext_authz filter.

        ``digest`` names the ruleset to decide by.
        """
        started = time.perf_counter()
        try:
            verdict = self.view.decide(request, digest)
        except FAILURES as error:
            return _UNABLE[self.failures.reason(error)]
        return self._able(verdict, started, cache=cache)

    async def answer_with(
        self,
        lookup: CachedLookup,
        request: Request,
        known: int | None,
        digest: str | None,
        *,
        cache: bool,
    ) -> bytes:
        """The same without blocking; see `LiveView.decide_with`."""
        started = time.perf_counter()
        try:
            verdict = await self.view.decide_with(lookup, request, known, digest)
        except FAILURES as error:
            return _UNABLE[self.failures.reason(error)]
        return self._able(verdict, started, cache=cache)

    def _able(self, verdict: Verdict, started: float, *, cache: bool) -> bytes:
        response = self.answers.response(verdict, cache=cache)
        self.observer.classified(verdict.decision, time.perf_counter() - started)
        return response


class _Connection(asyncio.Protocol):
    """One connection: parsing is httptools', the rest is one method a request."""

    __slots__ = (
        *(
            "_authority",
            "_between",
            "_cache",
            "_digest",
            "_given",
            "_headers",
            "_known",
            "_method",
            "_parser",
            "_quiet_s",
            "_received",
            "_server",
        ),
        *("_closing", "_queue", "_start", "_transport", "_url"),
    )

    def __init__(self, server: ClassifierServer) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._received = 0
        self._quiet_s = 0.0
        self._closing = False
        self._queue: deque[tuple[Request, int | None, str | None, bool]] = deque()
        self.on_message_begin()
        self._between = True
        self._start = b""
        self._given: tuple[str, bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; one connection too many is closed at once."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's is none of asyncio's
        if len(self._server.connections) >= MAX_CONNECTIONS:
            log.warning("a connection is refused: there are %d", MAX_CONNECTIONS)
            transport.close()
            return
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget it."""
        self._server.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, which calls the methods below."""
        self._quiet_s = 0.0
        self._received += len(data)
        if self._between:
            data = self._readable(self._start + data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            log.exception("a question is not answered", exc_info=error.__context__)
            self._refuse(_FAILED)
        except httptools.HttpParserUpgrade:
            # The question itself is answered; nothing is upgraded here.
            self._close_after_answers()
        except httptools.HttpParserError:
            self._refuse(_BAD_REQUEST)
        if self._received > MAX_REQUEST_BYTES:
            self._refuse(_TOO_LARGE)

    def _readable(self, data: bytes) -> bytes:
        """A question's beginning with a first line that the parser takes; nothing until it is here.

        What the line says is kept. Most need nothing done.
        """
        self._start = b""
        if data.startswith(b"GET /") and b" HTTP/1.1\r\n" in data and data.isascii():
            return data
        if b"\n" not in data:
            self._start = data
            return b""
        line = _LINE.match(data)
        if line is None:
            return data
        self._given = line[1].decode("ascii"), line[2]
        return b"GET / HTTP/1.1\r\n" + data[line.end() :]

    def pause_writing(self) -> None:
        """Who does not read answers gets no further questions read."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._transport.resume_reading()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._between = False
        self._url = b""
        self._authority = b""
        self._method: str | None = None
        self._known: int | None = None
        self._digest: str | None = None
        self._cache = False
        self._headers: list[tuple[str, bytes]] = []

    def on_url(self, url: bytes) -> None:
        """A part of the request target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        if name == b"host":
            self._authority = value
            return
        if name == KNOWN_HEADER:
            self._cache = True
            self._known, self._digest = _KNOWN.get(value) or _read_known(value)
            return
        known = _NAMES.get(name)
        if known is None:
            known = name.lower().decode("latin-1")
            if known == "host":
                self._authority = value
                return
            if known.startswith(names.INTERNAL_PREFIX):
                self._internal(name, value)
                return
            if len(_NAMES) < MAX_NAMES:
                _NAMES[name] = known
        self._headers.append((known, value))

    def _internal(self, name: bytes, value: bytes) -> None:
        """Between the edge and us: no rule sees it."""
        if name == METHOD_HEADER and _METHOD.fullmatch(value):
            self._method = value.decode("ascii")
        elif name == COUNTS_HEADER:
            self._server.observer.edge_counted(value)

    def on_message_complete(self) -> None:
        """The request is here: answer it."""
        self._received = 0
        self._between = True
        given, self._given = self._given, None
        if self._transport.is_closing():
            return
        method, url = given or (self._parser.get_method().decode("ascii"), self._url)
        request = Request(self._method or method, self._authority, url, tuple(self._headers))
        if self._server.lookup is None:
            answer = self._server.answer(request, self._digest, cache=self._cache)
            self._transport.write(answer)
        else:
            self._queue.append((request, self._known, self._digest, self._cache))
            if len(self._queue) == 1:
                self._answer_queue(self._server.lookup)
        if not self._parser.should_keep_alive():
            self._close_after_answers()

    def _answer_queue(self, lookup: CachedLookup) -> None:
        # Envoy sends no further question before the answer: what comes all the same can wait.
        self._transport.pause_reading()
        task = asyncio.create_task(self._answer(lookup))
        self._server.answering.add(task)
        task.add_done_callback(self._answered)

    async def _answer(self, lookup: CachedLookup) -> None:
        while self._queue:
            request, known, digest, cache = self._queue[0]
            answer = await self._server.answer_with(lookup, request, known, digest, cache=cache)
            self._queue.popleft()
            if self._transport.is_closing():
                return
            self._transport.write(answer)
        if self._closing:
            self._transport.close()
        else:
            self._transport.resume_reading()

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._server.answering.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a question is not answered", exc_info=error)
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
        """So many seconds went by: close what is silent for too long, or amid a request."""
        self._quiet_s += seconds
        if self._quiet_s > (HEAD_S if self._received else IDLE_S):
            self.close()

    def close(self) -> None:
        """Send what has been answered, then close."""
        self._transport.close()
