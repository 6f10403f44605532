"""One stream: reads what the reader says, and sends what its session of the journal has for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import grpc

from control_plane.names import NODE_NAME
from control_plane.owners.follow import FollowSession
from control_plane.owners.frames import STATUS, BadFrame, ClientMessage
from control_plane.owners.journal import Journal
from control_plane.owners.server.limits import Limits, MessageBudget
from control_plane.owners.server.readers import Reader
from control_plane.owners.stored_frames import StoredFrames

LAST_FRAME_S = 1.0
"""How long a stream that ends waits for a frame that is being written."""
Context = grpc.aio.ServicerContext[Any, bytes]


class Stream:
    """One call of one reader. It holds a position in the journal, and no queue of its own."""

    def __init__(
        self,
        journal: Journal,
        limits: Limits,
        context: Context,
        clock: Callable[[], float],
        told: Callable[[ClientMessage], None] = lambda _: None,
    ) -> None:
        self._told = told
        self._journal = journal
        self._limits = limits
        self._context = context
        self._clock = clock
        self._budget = MessageBudget(limits, clock())
        self._session: FollowSession | None = None
        self._waiting: asyncio.Future[None] | None = None
        """Pending while there is nothing to send."""
        self._writing_since: float | None = None
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.reader: Reader | None = None
        """None until it has said what it has."""

    @property
    def is_ahead(self) -> bool:
        """Whether the reader waits for this server to come as far as it has come itself."""
        return self._session is not None and self._session.is_ahead

    def is_stuck(self, now: float) -> bool:
        """Return whether the reader has not taken a frame for too long."""
        since = self._writing_since
        return since is not None and now - since > self._limits.write_timeout_s

    def wake(self) -> None:
        """Send what there is to send, unless a frame is just being sent."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def end(self) -> None:
        """Have `run` return."""
        if not self._ended.done():
            self._ended.set_result(None)

    async def hello(self, named: Callable[[str], str]) -> Reader:
        """Read the first message, and find the reader's place in the journal.

        Args:
            named: Returns the id of the node, given the id that the reader names or "".

        Raises:
            BadFrame: The reader broke the protocol, or said nothing.
        """
        limit_s = self._limits.hello_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                first = await self._next()
        except TimeoutError:
            raise BadFrame(f"no FOLLOW came in {limit_s:g} s") from None
        if first is None:
            raise BadFrame("the stream ended before its FOLLOW")
        if first.node_id and not NODE_NAME.match(first.node_id):
            raise BadFrame("a node id has 1 to 256 visible ASCII characters")
        self._session = FollowSession(self._journal, first)
        node = named(first.node_id)
        self.reader = Reader(node, str(self._context.peer()), self._clock())
        return self.reader

    async def run(self) -> None:
        """Serve until the reader leaves or `end` is called.

        Raises:
            BadFrame: The reader broke the protocol.
            WrongKey: Its fingerprints are of another key.
            ReaderLimitExceeded: It sends too much.
            DamagedFile: A base that lies in a file can't be read.
        """
        reading = asyncio.create_task(self._read())
        sending = asyncio.create_task(self._send())
        parts = (reading, sending, self._ended)
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
        finally:
            await self._stop(reading, sending)

    async def _stop(self, reading: asyncio.Task[None], sending: asyncio.Task[None]) -> None:
        """End both tasks, but let a write end that has begun: gRPC can't send a status meanwhile.

        Raises:
            asyncio.CancelledError: The reader takes nothing, so it can't be told a status either.
        """
        self.end()
        self.wake()
        reading.cancel()
        await asyncio.wait({sending}, timeout=LAST_FRAME_S)
        is_stuck = not sending.done()
        sending.cancel()
        await asyncio.gather(reading, sending, return_exceptions=True)
        if is_stuck:
            raise asyncio.CancelledError

    async def _next(self) -> ClientMessage | None:
        """Return the reader's next message; None when it closes its side."""
        message = await self._context.read()
        if message is grpc.aio.EOF:  # type: ignore[attr-defined]
            return None
        self._budget.spend(self._clock())
        return message  # type: ignore[no-any-return]

    async def _read(self) -> None:
        reader = self.reader
        assert reader is not None
        while (message := await self._next()) is not None:
            if message.kind != STATUS:
                raise BadFrame("after the first message, only STATUS follows")
            reader.last, reader.at = message, self._clock()
            self._told(message)

    async def _send(self) -> None:
        session, write, clock = self._session, self._context.write, self._clock
        assert session is not None
        loop = asyncio.get_running_loop()
        while not self._ended.done():
            now = clock()
            frames = session.next(now)
            if not frames:
                self._waiting = loop.create_future()
                await self._waiting
                continue
            for frame in await _in_memory(frames):
                self._writing_since = now
                try:
                    await write(frame)
                except grpc.aio.InternalError:
                    # The reader has left meanwhile.
                    return
                if self._ended.done():
                    return
            self._writing_since = None


async def _in_memory(frames: Sequence[bytes]) -> Sequence[bytes]:
    """Return frames that may lie in a file, whose disk may keep the caller waiting."""
    if isinstance(frames, StoredFrames):
        return await asyncio.to_thread(list, frames)
    return frames
