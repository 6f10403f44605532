"""The service ``cellway.edge.v1.Owners`` on a grpc.aio server.

Its one method, ``Follow``, has raw frames as messages (`frames`). All streams share one journal:
each frame is encoded once, and a stream is a position. Streams are woken when the journal changes,
and each time a beat is due, `WAKES_AT_ONCE` at a time, so that the event loop has other turns in
between.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Protocol

import grpc

from control_plane.names import OWNERS_SERVICE
from control_plane.owners.follow import BEAT_S, WrongKey
from control_plane.owners.frames import BadFrame, ClientMessage, decode_client
from control_plane.owners.journal import Journal
from control_plane.owners.server.limits import Limits, ReaderLimitExceeded
from control_plane.owners.server.readers import Reader, TableStatus
from control_plane.owners.server.stream import Context, Stream
from control_plane.owners.stored_frames import DamagedFile

METHOD = "Follow"
WAKES_AT_ONCE = 64
AHEAD_S = 10.0
"""How long a reader may be ahead before the log says so: far longer than a replica lags."""
log = logging.getLogger(__name__)


class ReadersObserver(Protocol):
    """Counts what is refused, for metrics, of which this room knows nothing."""

    def reader_refused(self, code: str) -> None:
        """Count a stream that was ended with this gRPC status."""


class OwnersServer:
    """Serves a journal to all who follow it. For one event loop."""

    def __init__(
        self,
        journal: Journal,
        *,
        want: Callable[[], None],
        named: Callable[[str], str] = lambda node_id: node_id,
        observer: ReadersObserver | None = None,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
        told: Callable[[ClientMessage], None] = lambda _: None,
        damaged: Callable[[DamagedFile], None] = lambda _: None,
    ) -> None:
        """Serve nobody yet.

        Args:
            journal: What is served; it may have no base yet.
            want: Is called when a reader comes, and while one has more than the journal.
            named: Returns a reader's node id, given the one that it names or "", in the context of
                its call.
            observer: Is told of streams that are refused.
            limits: Bounds of all streams.
            clock: The clock of the journal.
            told: Is called with each STATUS.
            damaged: Is called if the journal's base lies in a file that can't be read any more.
        """
        self._told = told
        self._damaged = damaged
        self._journal = journal
        self._want = want
        self._named = named
        self._observer = observer
        self._limits = limits or Limits()
        self._clock = clock
        self._streams: dict[Stream, None] = {}
        self._of_node: Counter[str] = Counter()
        self._due: dict[Stream, None] = {}
        self._waking = False
        self._some = asyncio.Event()
        """Set while there are streams."""
        self._stopping = False

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a gRPC server."""
        handler = grpc.stream_stream_rpc_method_handler(
            self._serve, request_deserializer=decode_client, response_serializer=_identity
        )
        handlers = grpc.method_handlers_generic_handler(OWNERS_SERVICE, {METHOD: handler})
        server.add_generic_rpc_handlers((handlers,))

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def statuses(self) -> list[TableStatus]:
        """Return what is known of the table of each reader."""
        now = self._clock()
        table = 0 if self._journal.base is None else self._journal.base.table
        readers = (one.reader for one in self._streams)
        return [reader.status(now, table) for reader in readers if reader is not None]

    def stop(self) -> None:
        """End every stream, so that readers go elsewhere."""
        self._stopping = True
        for stream in tuple(self._streams):
            stream.end()

    def wake(self) -> None:
        """Send all streams what is new in the journal."""
        self._due |= self._streams
        if self._due and not self._waking:
            self._wake_some()

    def _wake_some(self) -> None:
        """Wake the streams that are due next, and go on in the event loop's next turn."""
        for stream in [one for one, _ in zip(self._due, range(WAKES_AT_ONCE), strict=False)]:
            del self._due[stream]
            stream.wake()
        self._waking = bool(self._due)
        if self._waking:
            asyncio.get_running_loop().call_soon(self._wake_some)

    async def run(self) -> None:
        """Have each stream send its beats, while there are streams, until cancelled."""
        while True:
            await self._some.wait()
            now = self._clock()
            await asyncio.sleep((math.floor(now / BEAT_S) + 1) * BEAT_S - now)
            self._look_after(self._clock())
            self.wake()

    def _look_after(self, now: float) -> None:
        """End streams that take nothing, and ask for what some are ahead with."""
        for stream in tuple(self._streams):
            if stream.is_stuck(now):
                log.warning("a reader of owners takes no frames: %s", _who(stream.reader))
                stream.end()
        ahead = [stream.reader for stream in self._streams if stream.is_ahead]
        if ahead:
            self._want()
        for reader in ahead:
            if reader is not None and not reader.told_ahead and now - reader.since > AHEAD_S:
                reader.told_ahead = True
                log.warning(
                    "%s has owners of a newer revision than the database: if it was restored, "
                    "run `cellway db advance`",
                    _who(reader),
                )

    async def _serve(self, _: AsyncIterator[Any], context: Context) -> None:
        if self._stopping:
            return
        try:
            with self._open(context) as stream:
                reader = await stream.hello(self._named)
                self._want()
                with self._one_of(reader):
                    await stream.run()
        except BadFrame as error:
            await self._refuse(grpc.StatusCode.INVALID_ARGUMENT, error, context)
        except WrongKey as error:
            await self._refuse(grpc.StatusCode.FAILED_PRECONDITION, error, context)
        except ReaderLimitExceeded as error:
            await self._refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, error, context)
        except DamagedFile as error:
            self._damaged(error)
            await self._refuse(grpc.StatusCode.UNAVAILABLE, error, context)

    @contextlib.contextmanager
    def _open(self, context: Context) -> Iterator[Stream]:
        """Give a stream that is woken; raise `ReaderLimitExceeded` if there are too many."""
        if len(self._streams) >= self._limits.streams:
            raise ReaderLimitExceeded(f"{self._limits.streams} streams are open")
        stream = Stream(self._journal, self._limits, context, self._clock, self._told)
        self._streams[stream] = None
        self._some.set()
        try:
            yield stream
        finally:
            del self._streams[stream]
            self._due.pop(stream, None)
            if not self._streams:
                self._some.clear()

    @contextlib.contextmanager
    def _one_of(self, reader: Reader) -> Iterator[None]:
        """Count a stream of a node; raise `ReaderLimitExceeded` if it has too many."""
        node, most = reader.node, self._limits.streams_per_node
        if node and self._of_node[node] >= most:
            raise ReaderLimitExceeded(f"node {node!r} has {most} streams open already")
        self._of_node[node] += 1
        try:
            yield
        finally:
            self._of_node[node] -= 1
            if not self._of_node[node]:
                del self._of_node[node]

    async def _refuse(self, code: grpc.StatusCode, error: Exception, context: Context) -> None:
        if self._observer is not None:
            self._observer.reader_refused(code.name)
        # A reader that has left meanwhile can't be told.
        with contextlib.suppress(grpc.aio.InternalError):
            await context.abort(code, str(error))


def _who(reader: Reader | None) -> str:
    return "unknown" if reader is None else f"{reader.node or 'unnamed'} at {reader.peer}"


def _identity(frame: bytes) -> bytes:
    return frame
