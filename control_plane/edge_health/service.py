"""The gRPC service that edges report to: Envoy's HealthDiscoveryService, in one direction only.

The service only listens and never asks for anything. An Envoy that has an ``hds_config`` of its own
would check endpoints a second time if it were told to; here it just stays connected.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import grpc
from envoy.service.health.v3 import hds_pb2

from control_plane.edge_health.book import Book, ReportStream
from control_plane.edge_health.message import ReportMessage
from control_plane.edge_health.report import (
    LARGE_BYTES,
    NO_CLUSTERS,
    BadReport,
    LimitExceeded,
    ReportReader,
)

SERVICE = hds_pb2.DESCRIPTOR.services_by_name["HealthDiscoveryService"].full_name
METHOD = "StreamHealthCheck"
HELLO_S = 30.0
"""How long a stream may take to name its node."""
MESSAGES_PER_S = 5.0
BURST = 50.0
"""Messages that a stream may send at once after it has been silent."""
MAX_ID = 512
_Context = grpc.aio.ServicerContext[Any, bytes]


class ReportObserver(Protocol):
    """Counts what is refused, for metrics, of which this room knows nothing."""

    def report_refused(self, code: str) -> None:
        """Count a stream of reports that was ended with this gRPC status."""


class _MessageBudget:
    """How many messages a stream may still send now: a bucket that fills with time."""

    def __init__(self, now: float) -> None:
        self._left = BURST
        self._filled_at = now

    def spend(self, now: float) -> None:
        """Count one message; raise `LimitExceeded` if the stream has sent too many."""
        self._left = min(BURST, self._left + (now - self._filled_at) * MESSAGES_PER_S)
        self._filled_at = now
        if self._left < 1:
            raise LimitExceeded(f"more than {MESSAGES_PER_S:g} messages a second")
        self._left -= 1


class HealthReports:
    """Writes into a book what comes on the streams of a server."""

    def __init__(
        self,
        book: Book,
        observer: ReportObserver | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._book = book
        self._observer = observer
        self._clock = clock
        self._reader = ReportReader()
        self._turn = asyncio.Lock()
        self._open: set[asyncio.Task[None]] = set()
        self._stopping = False

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a gRPC server."""
        handler = grpc.stream_stream_rpc_method_handler(
            self._serve, request_deserializer=ReportMessage, response_serializer=bytes
        )
        handlers = grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler})
        server.add_generic_rpc_handlers((handlers,))

    def stop(self) -> None:
        """End every stream, so that reporters go elsewhere."""
        self._stopping = True
        for task in tuple(self._open):
            task.cancel()

    async def _serve(self, _: AsyncIterator[ReportMessage], context: _Context) -> None:
        if self._stopping:
            return
        stream = _Stream(self._book, self._reader, self._turn, context, self._clock)
        reading = asyncio.create_task(stream.read())
        self._open.add(reading)
        try:
            await asyncio.wait({reading})
            if not reading.cancelled():
                reading.result()
        except BadReport as error:
            await self._refuse(grpc.StatusCode.INVALID_ARGUMENT, error, context)
        except LimitExceeded as error:
            await self._refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, error, context)
        finally:
            reading.cancel()
            self._open.discard(reading)

    async def _refuse(self, code: grpc.StatusCode, error: Exception, context: _Context) -> None:
        if self._observer is not None:
            self._observer.report_refused(code.name)
        await context.abort(code, str(error))


class _Stream:
    """One call of one node."""

    def __init__(
        self,
        book: Book,
        reader: ReportReader,
        turn: asyncio.Lock,
        context: _Context,
        clock: Callable[[], float],
    ) -> None:
        self._book = book
        self._reader = reader
        self._turn = turn
        """Held while a large report is read and counted, which takes some 30 ms."""
        self._context = context
        self._clock = clock
        self._budget = _MessageBudget(clock())
        self._stream: ReportStream | None = None
        """None until the node has named itself."""
        self._health = NO_CLUSTERS
        """The state of the edge, to which the next report is applied."""

    async def read(self) -> None:
        """Handle messages until the client leaves.

        Raises:
            BadReport: The client broke the protocol.
            LimitExceeded: The client sends too much.
        """
        try:
            try:
                async with asyncio.timeout(HELLO_S):
                    message = await self._next()
            except TimeoutError:
                raise BadReport(f"no node was named in {HELLO_S:g} s") from None
            while message is not None:
                await self._handle(message)
                message = await self._next()
        finally:
            if self._stream is not None:
                self._book.leave(self._stream, self._clock())

    async def _next(self) -> ReportMessage | None:
        message = await self._context.read()
        return None if message is grpc.aio.EOF else message  # type: ignore[attr-defined]

    async def _handle(self, message: ReportMessage) -> None:
        now = self._clock()
        self._budget.spend(now)
        if message.broken:
            raise BadReport(message.broken)
        if message.node is not None:
            self._start_over(message.node, now)
        elif self._stream is None:
            raise BadReport("the first message has to name the node")
        elif len(message.payload) > LARGE_BYTES:
            async with self._turn:
                # Many streams may be ready in one step of the event loop: it gets a step for each.
                await asyncio.sleep(0)
                await self._take(self._stream, message.payload, now)
        else:
            await self._take(self._stream, message.payload, now)

    async def _take(self, stream: ReportStream, payload: bytes, now: float) -> None:
        self._health = await self._reader.apply(self._health, payload)
        self._book.hear(stream, self._health, now)

    def _start_over(self, node: Any, now: float) -> None:
        """Take the node that a message names; its next report says all that it holds."""
        if not 0 < len(node.id) <= MAX_ID or len(node.cluster) > MAX_ID:
            raise BadReport("the node's id is missing or too long")
        if self._stream is None:
            self._stream = self._book.join(node.cluster, node.id, now)
        elif self._stream.node != (node.cluster, node.id):
            raise BadReport("a stream reports for one node, and cannot change to another")
        self._health = NO_CLUSTERS
