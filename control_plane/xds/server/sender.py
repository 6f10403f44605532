"""Writes the responses of one stream, in order, in a task that lives only while there are any.

A session never has more than one unanswered response of a type, so the queue is bounded by itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import grpc

from control_plane.xds.session.response import Response

LAST_WRITE_S = 1.0
"""How long a write may still take when the client has broken the protocol."""
log = logging.getLogger(__name__)


class ResponseTooLarge(Exception):
    """A response is over `Limits.response_bytes`; the cache should have refused it before."""


class Sender:
    """The queue of one stream, and the task that empties it."""

    def __init__(
        self,
        context: grpc.aio.ServicerContext[Any, bytes],
        to_bytes: Callable[[Response], bytes],
        max_bytes: int,
        *,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        count_sent: Callable[[int], None],
        on_pushed: Callable[[float], None],
    ) -> None:
        """Send nothing yet.

        Args:
            context: The call to write to.
            to_bytes: Serialises a response.
            max_bytes: How long a serialised response may be.
            spawn: Starts a task whose failure ends the stream.
            count_sent: Called with the bytes of resources in each response.
            on_pushed: Called with the seconds from a new snapshot to the last of its responses.
        """
        self._context = context
        self._to_bytes = to_bytes
        self._max_bytes = max_bytes
        self._spawn = spawn
        self._count_sent = count_sent
        self._on_pushed = on_pushed
        self._queue: deque[Response] = deque()
        self.task: asyncio.Task[None] | None = None
        """The task that writes; None while there is nothing to write."""
        self.node_id: str | None = None
        """For the log, once it is known."""

    def send(self, responses: Sequence[Response], snapshot_at: float | None = None) -> None:
        """Queue responses. Never waits.

        Args:
            responses: In the order in which to send them.
            snapshot_at: When the snapshot came that they bring, by ``time.perf_counter``.
        """
        if not responses:
            return
        self._queue.extend(responses)
        if self.task is None:
            self.task = self._spawn(self._drain(snapshot_at))

    async def empty(self) -> None:
        """Wait until everything is written."""
        if self.task is not None:
            await asyncio.wait({self.task})

    async def stop(self) -> None:
        """Let a write end that has begun, because gRPC can't send a status meanwhile."""
        self._queue.clear()
        if self.task is not None:
            await asyncio.wait({self.task}, timeout=LAST_WRITE_S)

    async def _drain(self, snapshot_at: float | None) -> None:
        try:
            while self._queue:
                await self._context.write(self._payload(self._queue.popleft()))
        finally:
            self.task = None
        if snapshot_at is not None:
            self._on_pushed(time.perf_counter() - snapshot_at)

    def _payload(self, response: Response) -> bytes:
        payload = self._to_bytes(response)
        if len(payload) > self._max_bytes:
            log.error("%s: a response of %d bytes is too large", self.node_id, len(payload))
            raise ResponseTooLarge(
                f"a response of {len(payload)} bytes is over the limit of {self._max_bytes}"
            )
        self._count_sent(sum(len(one.body) for one in response.resources))
        return payload
