"""What lives in a loop of another thread: its errors reach the test, and its connections end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.loop_thread import LoopThread
from tests.support.stream_servers import StreamServers


class Fragile(LoopThread):
    """Fails when it starts or when it ends."""

    def __init__(self, fails: str) -> None:
        super().__init__()
        self._fails = fails

    @asynccontextmanager
    async def lives(self) -> AsyncIterator[None]:
        if self._fails == "at the start":
            raise ValueError(self._fails)
        yield
        if self._fails == "at the end":
            raise ValueError(self._fails)


class Echo(StreamServers):
    """Sends each line back after the server's name."""

    async def answer(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while line := await reader.readline():
            writer.write(name.encode() + b" " + line)


@pytest.mark.parametrize("when", ["at the start", "at the end"])
def test_an_error_is_raised_in_the_tests_thread(when: str) -> None:
    with pytest.raises(ValueError, match=when), Fragile(when):
        assert when == "at the end"


def test_work_is_done_in_the_loop() -> None:
    async def add() -> int:
        await asyncio.sleep(0)
        return 3

    with Fragile("never") as living:
        assert living.call(add) == 3


def test_each_server_answers_under_its_name_and_the_end_cuts_connections() -> None:
    with Echo("one", "two") as servers:
        clients = [
            socket.create_connection(("127.0.0.1", port), timeout=20)
            for port in servers.ports.values()
        ]
        for client in clients:
            client.sendall(b"hello\n")
        assert [client.recv(100) for client in clients] == [b"one hello\n", b"two hello\n"]
    assert [client.recv(100) for client in clients] == [b"", b""]
    for client in clients:
        client.close()
