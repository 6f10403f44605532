"""A real gRPC server of a journal, and a client that builds its table."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import grpc

from control_plane.names import OWNERS_SERVICE
from control_plane.owners.frames import STATUS, ClientMessage, decode, encode_client
from control_plane.owners.journal import Journal
from control_plane.owners.server.server import OwnersServer
from tests.owners.tables import Reader


class Plane:
    """Serves a journal at a port, as a control plane does."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.told: list[ClientMessage] = []
        self.follows = 0
        self.port = 0
        self._server = OwnersServer(
            journal, want=lambda: None, named=self._named, told=self.told.append
        )

    @contextlib.asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[Plane]:
        """Serve until the block is left."""
        server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        self._server.register(server)
        self.port = server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        beats = asyncio.create_task(self._server.run())
        try:
            yield self
        finally:
            self._server.stop()
            await server.stop(None)
            beats.cancel()
            await asyncio.gather(beats, return_exceptions=True)

    def _named(self, node_id: str) -> str:
        self.follows += 1
        return node_id

    def put(self, revision: int, *records: tuple[int, int]) -> None:
        """Commit a revision."""
        self.journal.append(revision, records)
        self.journal.confirm(time.monotonic())
        self.journal.seal()
        self._server.wake()


class Client:
    """An Envoy's stream."""

    def __init__(self, target: str, reader: Reader | None = None, node_id: str = "") -> None:
        self.reader = Reader() if reader is None else reader
        self._target = target
        self._node_id = node_id
        self._channel: Any = None
        self.call: Any = None

    async def __aenter__(self) -> Client:
        self._channel = grpc.aio.insecure_channel(self._target)
        self.call = self._channel.stream_stream(f"/{OWNERS_SERVICE}/Follow")()
        follow = replace(self.reader.follow(), node_id=self._node_id)
        await self.call.write(encode_client(follow))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.call.cancel()
        await self._channel.close()

    async def tell(self, source: int) -> None:
        """Send a STATUS."""
        one = self.reader
        message = ClientMessage(STATUS, one.revision, one.table, source, len(one.owners))
        await self.call.write(encode_client(message))

    async def next(self) -> None:
        """Take one frame."""
        data = await self.call.read()
        if data is grpc.aio.EOF:
            raise ConnectionError(f"{await self.call.code()}: {await self.call.details()}")
        self.reader.take(decode(data))

    async def until_revision(self, revision: int) -> None:
        """Take frames until the table is complete up to a revision."""
        async with asyncio.timeout(20):
            while self.reader.revision < revision:
                await self.next()

    async def until_beat(self, flags: int = 0) -> None:
        """Take frames until a beat with these flags comes."""
        async with asyncio.timeout(20):
            while True:
                count = len(self.reader.beats)
                await self.next()
                if len(self.reader.beats) > count and self.reader.beats[-1].flags == flags:
                    return
