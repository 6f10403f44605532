"""The gRPC service that edges report to: Envoy's HealthDiscoveryService, of which we only listen.

Nothing is ever asked of who reports: an Envoy with an ``hds_config`` of its own would check
endpoints a second time if it were told to, and so it only stays connected.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import grpc
from envoy.service.health.v3 import hds_pb2

from control_plane.edge_health.book import Book, Reporter
from control_plane.edge_health.report import NOTHING, BadReport, Message, TooMuch, Views

SERVICE = hds_pb2.DESCRIPTOR.services_by_name["HealthDiscoveryService"].full_name
METHOD = "StreamHealthCheck"
HELLO_S = 30.0
"""How long a stream may take to say whose it is."""
REPORTS_PER_S = 5.0
BURST = 50.0
MAX_ID = 512
_Context = grpc.aio.ServicerContext[Any, bytes]


class Observer(Protocol):
    """Is told of what is refused, for metrics."""

    def report_refused(self, code: str) -> None:
        """A stream of reports was ended with this gRPC status."""


class _Allowance:
    """Messages that a stream may still send now: a bucket that fills with time."""

    def __init__(self, now: float) -> None:
        self._left = BURST
        self._at = now

    def take(self, now: float) -> None:
        """One message; raises `TooMuch`."""
        self._left = min(BURST, self._left + (now - self._at) * REPORTS_PER_S)
        self._at = now
        if self._left < 1:
            raise TooMuch(f"more than {REPORTS_PER_S:g} messages a second")
        self._left -= 1


class HealthReports:
    """Writes what comes on the streams of a server into a book."""

    def __init__(
        self,
        book: Book,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._book = book
        self._observer = observer
        self._clock = clock
        self._views = Views()
        self._open: set[asyncio.Task[None]] = set()
        self._stopping = False

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server."""
        handler = grpc.stream_stream_rpc_method_handler(
            self._serve, request_deserializer=Message, response_serializer=bytes
        )
        handlers = grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler})
        server.add_generic_rpc_handlers((handlers,))

    def stop(self) -> None:
        """End every stream, so that reporters go elsewhere."""
        self._stopping = True
        for task in tuple(self._open):
            task.cancel()

    async def _serve(self, _: AsyncIterator[Message], context: _Context) -> None:
        if self._stopping:
            return
        reading = asyncio.create_task(_Stream(self, self._book, self._views, context).read())
        self._open.add(reading)
        try:
            await asyncio.wait({reading})
            if not reading.cancelled():
                reading.result()
        except BadReport as error:
            await self._refuse(grpc.StatusCode.INVALID_ARGUMENT, error, context)
        except TooMuch as error:
            await self._refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, error, context)
        finally:
            reading.cancel()
            self._open.discard(reading)

    async def _refuse(self, code: grpc.StatusCode, error: Exception, context: _Context) -> None:
        if self._observer is not None:
            self._observer.report_refused(code.name)
        await context.abort(code, str(error))

    def now(self) -> float:
        """By the clock of the book."""
        return self._clock()


class _Stream:
    """One stream of one node."""

    def __init__(self, service: HealthReports, book: Book, views: Views, context: _Context) -> None:
        self._service = service
        self._book = book
        self._views = views
        self._context = context
        self._allowance = _Allowance(service.now())
        self._reporter: Reporter | None = None
        self._ground = NOTHING
        """What the next report adds to; nothing after the node has named itself."""

    async def read(self) -> None:
        """Until the client leaves."""
        try:
            try:
                async with asyncio.timeout(HELLO_S):
                    message = await self._next()
            except TimeoutError:
                raise BadReport(f"no node was named in {HELLO_S:g} s") from None
            while message is not None:
                await self._take(message)
                message = await self._next()
        finally:
            if self._reporter is not None:
                self._book.leave(self._reporter, self._service.now())

    async def _next(self) -> Message | None:
        message = await self._context.read()
        return None if message is grpc.aio.EOF else message  # type: ignore[attr-defined]

    async def _take(self, message: Message) -> None:
        now = self._service.now()
        self._allowance.take(now)
        if message.broken:
            raise BadReport(message.broken)
        if message.node is not None:
            self._named(message.node, now)
        elif self._reporter is None:
            raise BadReport("the first message has to name the node")
        else:
            self._ground = await self._views.after(self._ground, message.payload)
            self._book.hear(self._reporter, self._ground, now)

    def _named(self, node: Any, now: float) -> None:
        if not 0 < len(node.id) <= MAX_ID or len(node.cluster) > MAX_ID:
            raise BadReport("the node's id is missing or too long")
        if self._reporter is None:
            self._reporter = self._book.join(node.cluster, node.id, now)
        elif self._reporter.node != (node.cluster, node.id):
            raise BadReport("a stream is one node's")
        self._ground = NOTHING
