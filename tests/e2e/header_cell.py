"""A cell that puts internal headers wherever an answer has room for headers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from tests.support.stream_servers import StreamServers

UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n"


class HeaderCell(StreamServers):
    """Answers with the bytes that a test has put into `answers` for the path; used with `with`."""

    def __init__(self) -> None:
        super().__init__("cell")
        self.answers: dict[bytes, bytes] = {}
        self.heads: deque[bytes] = deque(maxlen=10)

    async def answer(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            if b"\r\ntransfer-encoding: chunked\r\n" in head:
                await reader.readuntil(b"\r\n0\r\n")
                while await reader.readuntil(b"\r\n") != b"\r\n":
                    pass
            answer = self.answers.get(head.split(b" ", 2)[1], b"")
            writer.write(answer or b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


def answers_with(names: Sequence[str], value: bytes) -> dict[str, bytes]:
    """Return the answers of a cell that has headers in each place where headers can be."""
    lines = b"".join(b"%s: %s\r\n" % (name.encode(), value) for name in names)
    nominated = ", ".join(names).encode()
    ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: " + nominated
    early = b"HTTP/1.1 %d Early\r\n" + lines + b"\r\n" + ok + b"\r\n"
    return {
        "head": ok + lines + b"\r\n",
        "twice": ok + lines + lines + b"\r\n",
        "in capitals": ok + lines.upper() + b"\r\n",
        "nominated": ok + b"connection: keep-alive, " + nominated + b"\r\n" + lines + b"\r\n",
        "no content": b"HTTP/1.1 204 No Content\r\n" + lines + b"\r\n",
        "error": b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n" + lines + b"\r\n",
        "trailer": chunked + b"\r\n\r\n1\r\na\r\n0\r\n" + lines + b"\r\n",
        "100": early % 100,
        "102": early % 102,
        "103": early % 103,
        "upgrade": UPGRADE + b"connection: Upgrade\r\n" + lines + b"\r\n",
    }
