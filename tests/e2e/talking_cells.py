"""Cells that keep a request going: WebSockets, events without an end, uploads that take their time."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Self

START_S = 10.0
EVENT_S = 0.05
_SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
)
_EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


class TalkingCells:
    """Cells in a thread of their own, each on a free port; use as a context manager.

    An upgrade is granted, and what comes over it is sent back with the cell's name in front. A GET
    of ``/.../events`` sends the cell's name each `EVENT_S`. All else is answered with the cell's
    name once its body is there.
    """

    def __init__(self, *cells: str) -> None:
        self.ports = dict.fromkeys(cells, 0)
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
        tasks: set[asyncio.Task[None]] = set()
        async with contextlib.AsyncExitStack() as stack:
            for name in self.ports:

                async def serve(
                    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str = name
                ) -> None:
                    task = asyncio.current_task()
                    assert task is not None
                    tasks.add(task)
                    with contextlib.suppress(
                        ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError
                    ):
                        await _talk(name.encode(), reader, writer)
                    writer.close()
                    tasks.discard(task)

                server = await asyncio.start_server(serve, "127.0.0.1", 0)
                await stack.enter_async_context(server)
                self.ports[name] = server.sockets[0].getsockname()[1]
            self._ready.set()
            await self._stop.wait()
            for task in tuple(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _talk(name: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        start, *lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in lines if line)
        if b"upgrade" in headers:
            writer.write(_SWITCHING)
            while data := await reader.read(1000):
                writer.write(name + b" " + data)
        elif start.split(b" ")[1].endswith(b"/events"):
            writer.write(_EVENTS)
            while True:
                writer.write(name + b"\n")
                await writer.drain()
                await asyncio.sleep(EVENT_S)
        await reader.readexactly(int(headers.get(b"content-length", b"0")))
        length = str(len(name)).encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: " + length + b"\r\n\r\n" + name)
