"""Cells with long requests: WebSockets, events without an end, slow uploads."""

from __future__ import annotations

import asyncio

from tests.support.stream_servers import StreamServers

EVENT_S = 0.05
_SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
)
_EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


class TalkingCells(StreamServers):
    """Cells in a thread of their own, each on a free port; used with `with`.

    An upgrade is granted, and what a client sends over it is sent back after the cell's name. A GET
    of ``/.../events`` sends the cell's name each `EVENT_S`. Any other request is answered with the
    cell's name when its body has come.
    """

    async def answer(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        cell = name.encode()
        while True:
            start, *lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
            headers = dict(line.lower().split(b": ", 1) for line in lines if line)
            if b"upgrade" in headers:
                writer.write(_SWITCHING)
                while data := await reader.read(1000):
                    writer.write(cell + b" " + data)
            elif start.split(b" ")[1].endswith(b"/events"):
                writer.write(_EVENTS)
                while True:
                    writer.write(cell + b"\n")
                    await writer.drain()
                    await asyncio.sleep(EVENT_S)
            await reader.readexactly(int(headers.get(b"content-length", b"0")))
            length = str(len(cell)).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: " + length + b"\r\n\r\n" + cell)
