"""A cell that keeps the heads that reach it, and answers with the bytes that a test gives it."""

from __future__ import annotations

import asyncio
from collections import deque

from tests.support.stream_servers import StreamServers

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
Fields = list[tuple[str, bytes]]


class EchoCell(StreamServers):
    """Answers a path with `answers` of it, or with an empty 200; used with `with`."""

    def __init__(self) -> None:
        super().__init__("cell")
        self.answers: dict[bytes, bytes] = {}
        self.requests: deque[tuple[bytes, bytes]] = deque(maxlen=10)
        """Head and body of each request that came as a whole."""

    def last(self) -> tuple[bytes, Fields, bytes]:
        """Return request line, header fields (sorted by name) and body of the newest request."""
        head, body = self.requests[-1]
        line, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        pairs = (one.partition(b":") for one in lines)
        fields = [(name.decode("latin-1").lower(), value.strip()) for name, _, value in pairs]
        return line, sorted(fields, key=lambda field: field[0]), body

    async def answer(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append((head, await _body(head.lower(), reader)))
            writer.write(self.answers.get(head.split(b" ", 2)[1], OK))


async def _body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    if b"\r\ntransfer-encoding: chunked\r\n" in head:
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
        return body
    length = head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]
    return await reader.readexactly(int(length or b"0"))
