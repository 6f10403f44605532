"""A control plane that speaks the owners' stream exactly as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from tests.edge_module.wire import Said, said
from tests.support.conditions import wait_until
from tests.support.loop_thread import LoopThread

SERVICE, METHOD = "cellway.edge.v1.Owners", "Follow"
type Call = grpc.aio.ServicerContext[bytes, bytes]


class Session:
    """One stream of a client."""

    def __init__(self, server: OwnersServer) -> None:
        self.heard: list[Said] = []
        self.over = False
        self.to_send: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._server = server

    def send(self, *messages: bytes) -> None:
        """Send messages, in order."""
        for message in messages:
            self._put(message)

    def end(self) -> None:
        """End the stream with status OK."""
        self._put(None)

    def _put(self, message: bytes | None) -> None:
        async def put() -> None:
            self.to_send.put_nowait(message)

        self._server.call(put)

    @property
    def follow(self) -> Said:
        """The first message, once it is there."""
        return wait_until(lambda: self.heard[:1])[0]


class OwnersServer(LoopThread):
    """Collects sessions; a test sends what it likes on each."""

    def __init__(self, port: int = 0) -> None:
        super().__init__()
        self.port = port
        self.sessions: list[Session] = []
        self.refusing = False

    def session(self, number: int) -> Session:
        """Return the session of this number (0: the first), once it is there."""
        wait_until(lambda: len(self.sessions) > number)
        return self.sessions[number]

    @asynccontextmanager
    async def lives(self) -> AsyncIterator[None]:
        server = grpc.aio.server()
        follow = grpc.stream_stream_rpc_method_handler(self._follow)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {METHOD: follow}),)
        )
        self.port = server.add_insecure_port(f"127.0.0.1:{self.port}")
        await server.start()
        try:
            yield
        finally:
            await server.stop(None)

    async def _follow(self, requests: AsyncIterator[bytes], context: Call) -> AsyncIterator[bytes]:
        if self.refusing:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        session = Session(self)
        self.sessions.append(session)
        listening = asyncio.create_task(self._listen(session, requests))
        try:
            while (message := await session.to_send.get()) is not None:
                yield message
        finally:
            session.over = True
            listening.cancel()

    async def _listen(self, session: Session, requests: AsyncIterator[bytes]) -> None:
        async for message in requests:
            session.heard.append(said(message))
        session.over = True
        session.to_send.put_nowait(None)
