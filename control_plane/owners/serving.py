"""Serves a journal to any number of streams of one event loop.

The problem: a change must reach a thousand streams soon, and other work of the event loop must not
wait until it has. Each stream costs about 0.1 ms.

The idea: changes are gathered (`follow.Pace`), encoded once, and the streams are woken some at a
time, between which the loop has a turn. A stream that is still writing is not woken twice: when it
is done, it takes all that has come meanwhile. One timer makes the beats of all streams.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from control_plane.owners.follow import BEAT_S, FollowSession, Pace
from control_plane.owners.frames import STATUS, BadFrame, ClientMessage, decode_client
from control_plane.owners.journal import Journal

HELLO_S = 10.0
"""How long a stream may take until its first message."""
AHEAD_S = 10.0
"""How long a reader that has something newer than the journal is kept. It then asks elsewhere."""
WRITE_S = 60.0
"""How long a reader may take to accept what it is sent (`follow.STEP_BYTES`)."""
WOKEN_AT_ONCE = 50

Write = Callable[[bytes], Awaitable[None]]
Told = Callable[[ClientMessage], None]


class Behind(Exception):
    """The journal is older than what a reader has, and stays so."""


class TooSlow(Exception):
    """A reader does not accept what it is sent."""


class Readers:
    """The streams that read a journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        self._pace = Pace()
        self._streams: set[asyncio.Event] = set()
        self._sleeping: dict[asyncio.Event, None] = {}
        """The streams that are to be woken."""
        self._waking = False
        self._sealing: asyncio.TimerHandle | None = None
        self._beating: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._streams)

    def publish(self) -> None:
        """Show what was appended to the journal to all streams, now or when it is due."""
        if self._sealing is not None or not self._journal.has_pending:
            return
        wait = self._pace.wait(self._loop.time())
        if wait:
            self._sealing = self._loop.call_later(wait, self._seal)
        else:
            self._seal()

    def _seal(self) -> None:
        self._sealing = None
        self._pace.sealed(self._loop.time(), len(self._streams))
        self._journal.seal()
        self.wake()

    def wake(self) -> None:
        """Let all streams look at the journal."""
        self._sleeping |= dict.fromkeys(self._streams)
        if not self._waking:
            self._wake_some()

    def _wake_some(self) -> None:
        for stream in list(itertools.islice(self._sleeping, WOKEN_AT_ONCE)):
            del self._sleeping[stream]
            stream.set()
        self._waking = bool(self._sleeping)
        if self._waking:
            self._loop.call_soon(self._wake_some)

    async def serve(
        self,
        messages: AsyncIterator[bytes],
        write: Write,
        told: Told = lambda _: None,
        first: ClientMessage | None = None,
    ) -> None:
        """Run one stream until the reader leaves.

        Args:
            messages: What the reader sends.
            write: Sends it a frame; returns when it may be sent another one.
            told: Is called with each STATUS.
            first: The first message, if somebody has read it already (`first_message`).

        Raises:
            BadFrame: A message is none, or none came in time.
            WrongKey: The reader's key is not the journal's.
            Behind: The journal is older than what the reader has.
            TooSlow: The reader does not accept what it is sent.
        """
        follow = first or await first_message(messages)
        if follow is None:
            return
        session = FollowSession(self._journal, follow)
        tasks = {
            asyncio.ensure_future(self._send(session, write)),
            asyncio.ensure_future(_listen(messages, told)),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, session: FollowSession, write: Write) -> None:
        woken = asyncio.Event()
        self._streams.add(woken)
        self._beat_later()
        ahead_until = self._loop.time() + AHEAD_S
        try:
            while True:
                woken.clear()
                now = self._loop.time()
                frames = session.next(now)
                if not frames:
                    if session.is_ahead and now >= ahead_until:
                        raise Behind("this server is older than what the reader has")
                    await woken.wait()
                    continue
                # What is no list is read from a file.
                in_memory = isinstance(frames, list)
                await _write_all(frames if in_memory else await _read(frames), write)
        finally:
            self._streams.discard(woken)
            self._sleeping.pop(woken, None)

    def _beat_later(self) -> None:
        """Wake all streams at each tick, as long as there are streams."""
        if self._beating is None:
            now = self._loop.time()
            self._beating = self._loop.call_at((now // BEAT_S + 1) * BEAT_S, self._beat)

    def _beat(self) -> None:
        self._beating = None
        if self._streams:
            self.wake()
            self._beat_later()


async def _read(frames: Sequence[bytes]) -> Sequence[bytes]:
    return await asyncio.to_thread(list, frames)


async def _write_all(frames: Sequence[bytes], write: Write) -> None:
    try:
        async with asyncio.timeout(WRITE_S):
            for frame in frames:
                await write(frame)
    except TimeoutError as error:
        text = f"the reader has not accepted what it was sent within {WRITE_S:g} s"
        raise TooSlow(text) from error


async def first_message(messages: AsyncIterator[bytes]) -> ClientMessage | None:
    """Return a stream's first message; None if the reader has left.

    Raises:
        BadFrame: It is none, or did not come in time.
    """
    try:
        async with asyncio.timeout(HELLO_S):
            data = await anext(aiter(messages), None)
    except TimeoutError:
        raise BadFrame(f"no message came within {HELLO_S:g} s") from None
    return None if data is None else decode_client(data)


async def _listen(messages: AsyncIterator[bytes], told: Told) -> None:
    async for data in messages:
        message = decode_client(data)
        if message.kind != STATUS:
            raise BadFrame("only the first message of a stream is FOLLOW")
        told(message)
