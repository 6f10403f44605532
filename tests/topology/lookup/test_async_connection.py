"""A server that accepts and then says nothing holds nobody up."""

from __future__ import annotations

import asyncio

import pytest

from control_plane.topology.lookup import async_connection
from control_plane.topology.lookup.async_connection import AsyncConnection
from control_plane.topology.values import Unavailable


async def test_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_connection, "LOOKUP_S", 0.05)
    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = AsyncConnection(((), {"host": "127.0.0.1", "port": port, "user": "u"}))
    with pytest.raises(TimeoutError):
        await connection.rows("SELECT 1")
    await connection.close()
    for writer in held:
        writer.close()
    server.close()


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    connection = AsyncConnection(((), {"host": "127.0.0.1", "port": port, "user": "u"}))
    with pytest.raises(Unavailable):
        await connection.rows("SELECT 1")
    connection.cut()
    await connection.close()
