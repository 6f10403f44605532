"""TCP servers in a thread, for tests that block."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

from tests.support.loop_thread import LoopThread


class StreamServers(LoopThread):
    """TCP servers by name, each on a free loopback port; used with `with`.

    A subclass says how they answer. At the end all connections are cut.
    """

    def __init__(self, *names: str, read_limit: int = 1 << 16) -> None:
        super().__init__()
        self.ports: Mapping[str, int] = {}
        self._names = names
        self._read_limit = read_limit
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port of the only server."""
        (port,) = self.ports.values()
        return port

    @abstractmethod
    async def answer(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Talk over one connection to the named server, until it ends or is to be closed."""

    @asynccontextmanager
    async def lives(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._cut_all)
            ports: dict[str, int] = {}
            for name in self._names:
                server = await asyncio.start_server(
                    partial(self._accept, name), "127.0.0.1", 0, limit=self._read_limit
                )
                stack.callback(server.close)
                ports[name] = server.sockets[0].getsockname()[1]
            self.ports = ports
            yield

    async def _accept(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            # Nothing is wrong when the client ends a connection.
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self.answer(name, reader, writer)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _cut_all(self) -> None:
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
