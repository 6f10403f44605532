"""Cells that know which tenants are theirs, and answer 421 where a request is not."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Self

START_S = 10.0


@dataclass(frozen=True, slots=True)
class Got:
    """A request as it came to a cell, its body read to the end or, at a 421, not at all."""

    cell: str
    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None


class TenantCells:
    """Cells in a thread of their own, each on a free port; use as a context manager.

    ``owners`` says whose a tenant (``/t/<tenant>/...``) is, as the cells have it; change it at will.
    A 421 comes at once with ``hasty``, and its body is ``refusal``; else when the whole request has
    been read.
    """

    def __init__(self, *cells: str) -> None:
        self.ports = dict.fromkeys(cells, 0)
        self.owners: dict[str, str] = {}
        self.hasty = False
        self.refusal = b""
        self.got: list[Got] = []
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._main, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(START_S), "the cells did not start"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(START_S)
        self._loop.close()

    def _main(self) -> None:
        self._loop.run_until_complete(self._run())

    async def _run(self) -> None:
        open_now: set[asyncio.Task[None]] = set()
        servers = [await self._serve(name, open_now) for name in self.ports]
        self._ready.set()
        await self._stop.wait()
        for server in servers:
            server.close()
        for task in open_now:
            task.cancel()
        await asyncio.gather(*open_now, return_exceptions=True)

    async def _serve(self, name: str, open_now: set[asyncio.Task[None]]) -> asyncio.Server:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            open_now.add(task)
            try:
                while await self._answer(name, reader, writer):
                    pass
            except (asyncio.IncompleteReadError, ConnectionError):
                pass  # Envoy has closed it
            finally:
                open_now.discard(task)
                writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self.ports[name] = server.sockets[0].getsockname()[1]
        return server

    async def _answer(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """One request; whether another may follow."""
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
