"""A tiny upstream that answers with the very bytes of the request head that reached it."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Self

MAX_HEAD_BYTES = 1 << 20
MAX_HEADS = 100
START_TIMEOUT_S = 5.0
ECHO_HEADER = "x-echo"
"""In each response of the upstream, and in none that the edge makes itself."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A request head as it arrived, taken apart without any normalising."""

    method: str
    path: bytes
    headers: tuple[tuple[str, bytes], ...]

    @classmethod
    def parse(cls, head: bytes) -> Arrived:
        """Takes a head apart that Envoy wrote (so it is well-formed)."""
        start, *lines = head.split(b"\r\n\r\n", 1)[0].split(b"\r\n")
        method, path, _ = start.split(b" ", 2)
        pairs = (line.split(b": ", 1) for line in lines)
        return cls(
            method.decode("latin-1"),
            path,
            tuple((name.decode("latin-1"), value) for name, value in pairs),
        )

    @property
    def authority(self) -> bytes | None:
        """The Host header, or None."""
        return next((value for name, value in self.headers if name == "host"), None)


class EchoUpstream:
    """The upstream in a thread of its own, on a free loopback port, used with `with`.

    Each response's body is the request head; `last_head` is the newest one that arrived (what a
    HEAD request's answer can't carry) and `requests` counts them. `heads` keeps the newest
    `MAX_HEADS`, also of requests whose body never came.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.heads: deque[bytes] = deque(maxlen=MAX_HEADS)
        self.last_head = b""
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="echo-upstream", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(START_TIMEOUT_S):
            raise RuntimeError("the echo upstream did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        connections: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            connections.add(task)
            try:
                await self._answer(reader, writer)
            finally:
                connections.discard(task)
                writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=MAX_HEAD_BYTES)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stopping.wait()
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                self.last_head = head
                self.heads.append(head)
                await _skip_body(head.lower(), reader)
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            self.requests += 1
            start = b"HTTP/1.1 200 OK\r\n%s: 1\r\nContent-Length: %d\r\n\r\n" % (
                ECHO_HEADER.encode(),
                len(head),
            )
            writer.write(start if head.startswith(b"HEAD ") else start + head)


async def _skip_body(head: bytes, reader: asyncio.StreamReader) -> None:
    if b"\r\ntransfer-encoding: chunked\r\n" in head:
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            await reader.readexactly(size + 2)
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
        return
    _, found, rest = head.partition(b"\r\ncontent-length: ")
    if found:
        await reader.readexactly(int(rest.split(b"\r\n", 1)[0]))
