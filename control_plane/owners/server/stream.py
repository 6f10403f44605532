"""One stream: reads what the reader says, and sends what its session of the journal has for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc

from control_plane.names import NODE_NAME
from control_plane.owners.follow import FollowSession
from control_plane.owners.frames import STATUS, BadFrame, ClientMessage
from control_plane.owners.journal import Journal
from control_plane.owners.server.limits import Limits, MessageBudget
from control_plane.owners.server.readers import Reader

Context = grpc.aio.ServicerContext[Any, bytes]


class Stream:
    """One call of one reader. It holds a position in the journal, and no queue of its own."""

    def __init__(
        self, journal: Journal, limits: Limits, context: Context, clock: Callable[[], float]
    ) -> None:
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
        """
        reading = asyncio.create_task(self._read())
        sending = asyncio.create_task(self._send())
        parts = (reading, sending, self._ended)
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)

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

    async def _send(self) -> None:
        session, write, clock = self._session, self._context.write, self._clock
        assert session is not None
        loop = asyncio.get_running_loop()
        while True:
            now = clock()
            frames = session.next(now)
            if not frames:
                self._waiting = loop.create_future()
                await self._waiting
                continue
            for frame in frames:
                self._writing_since = now
                await write(frame)
            self._writing_since = None
