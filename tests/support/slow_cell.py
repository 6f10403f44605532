"""A cell that keeps its clients waiting."""

from __future__ import annotations

import asyncio

from tests.support.stream_servers import StreamServers


class SlowCell(StreamServers):
    """Answers each request only when a test says so, and counts those that wait."""

    def __init__(self) -> None:
        super().__init__("slow")
        self.waiting = 0
        self._may_answer = asyncio.Event()

    def let_go(self) -> None:
        """Answer all requests, those that wait and those to come."""
        self.call(self._let_go)

    async def _let_go(self) -> None:
        self._may_answer.set()

    async def answer(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.waiting += 1
        await self._may_answer.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
