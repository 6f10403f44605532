"""Cells that know their tenants, and answer 421 to a request for another one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from tests.support.stream_servers import StreamServers


@dataclass(frozen=True, slots=True)
class Got:
    """A request as it came to a cell; the body is None if a 421 came before it was read."""

    cell: str
    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None


class TenantCells(StreamServers):
    """Cells in a thread of their own, each on a free port; used with `with`.

    ``owners`` has the cell of each tenant (``/t/<tenant>/...``), as the cells know it; a test
    changes it at will. With ``hasty`` a 421 comes at once, and its body is ``refusal``; otherwise
    it comes when the whole request has been read.
    """

    def __init__(self, *cells: str) -> None:
        super().__init__(*cells)
        self.owners: dict[str, str] = {}
        self.hasty = False
        self.refusal = b""
        self.got: list[Got] = []

    async def answer(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while await self._answer_one(name, reader, writer):
            pass

    async def _answer_one(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; tell whether another may follow."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        misdirected = self.owners.get(target.split("/")[2], name) != name
        if misdirected and self.hasty:
            self.got.append(Got(name, method, target, headers, None))
            start = b"HTTP/1.1 421 Misdirected Request\r\ncontent-length: %d\r\n\r\n"
            writer.write(start % len(self.refusal) + self.refusal)
            await reader.read()
            return False
        body = await _body(headers, reader)
        self.got.append(Got(name, method, target, headers, body))
        status = b"421 Misdirected Request" if misdirected else b"200 OK"
        answer = b"" if method == "HEAD" else name.encode()
        start = b"HTTP/1.1 %s\r\nx-example-cell: %s\r\ncontent-length: %d\r\n\r\n"
        writer.write(start % (status, name.encode(), len(name)) + answer)
        return True


async def _body(headers: dict[str, str], reader: asyncio.StreamReader) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\r\n")
    return body
