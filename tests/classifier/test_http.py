"""The server's connections: idle ones are closed, and all are when it ends."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

import pytest

from control_plane.classifier import http, http_connection
from control_plane.classifier.http import ClassifierServer


@pytest.fixture
def sock() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


async def connect(sock: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*sock.getsockname())


async def test_an_idle_connection_is_closed(
    sock: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_SWEEP_S", 0.01)
    monkeypatch.setattr(http_connection, "IDLE_S", 0.0)
    serving = asyncio.create_task(ClassifierServer(cast("Any", None), cast("Any", None)).run(sock))
    reader, writer = await connect(sock)
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def test_the_end_of_the_server_closes_all_connections(sock: socket.socket) -> None:
    server = ClassifierServer(cast("Any", None), cast("Any", None))
    serving = asyncio.create_task(server.run(sock))
    connections = [await connect(sock) for _ in range(3)]
    while len(server._open.connections) < 3:
        await asyncio.sleep(0)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    async with asyncio.timeout(5):
        for reader, writer in connections:
            assert await reader.read() == b""
            writer.close()
    await asyncio.sleep(0)
    assert not server._open.connections
