"""A tiny upstream that answers with the very bytes of the request head that reached it."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from tests.support.stream_servers import StreamServers

MAX_HEAD_BYTES = 1 << 20
MAX_HEADS = 100
ECHO_HEADER = "x-echo"
"""A header that each response of the upstream has, and none of the edge itself."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A request head as it arrived, parsed without any normalising."""

    method: str
    path: bytes
    headers: tuple[tuple[str, bytes], ...]

    @classmethod
    def parse(cls, head: bytes) -> Arrived:
        """Parse a head that Envoy wrote (so it is well-formed)."""
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


class EchoUpstream(StreamServers):
    """The upstream in a thread of its own, on a free loopback port; used with `with`.

    Each response's body is the request head. `last_head` is the newest head that arrived (what the
    answer to a HEAD request can't carry), and `requests` counts them. `heads` keeps the newest
    `MAX_HEADS`, also of requests whose body never came.
    """

    def __init__(self) -> None:
        super().__init__("echo", read_limit=MAX_HEAD_BYTES)
        self.requests = 0
        self.heads: deque[bytes] = deque(maxlen=MAX_HEADS)
        self.last_head = b""

    async def answer(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            self.last_head = head
            self.heads.append(head)
            await _skip_body(head.lower(), reader)
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
    _, has_length, rest = head.partition(b"\r\ncontent-length: ")
    if has_length:
        await reader.readexactly(int(rest.split(b"\r\n", 1)[0]))
