"""Backends that name themselves, on several loopback addresses, with plain text and TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.certificates import Authority
from tests.support.loop_thread import LoopThread
from tests.support.ports import unused_port

ADDRESSES = ("127.0.0.1", "127.0.0.2", "::1")
SERVER_NAME = "cell.example"
TRIES = 20
BACKEND_HEADER = "x-example-cell"
SENT_FOR_HEADER = "x-sent-for"
"""The cell that the edge wrote into the request."""


class NamedBackends(LoopThread):
    """Backends in a thread of their own; used with `with`. They close no connection."""

    def __init__(self, names: Iterable[str], directory: Path) -> None:
        super().__init__()
        authority = Authority()
        self.ca_pem = authority.pem
        self.ports: dict[str, int] = {}
        self._tls = _context(authority, directory)
        self._listening: list[tuple[str, socket.socket]] = []
        for name in names:
            self._listen(name)
        self._tasks: set[asyncio.Task[None]] = set()

    def _listen(self, name: str) -> None:
        for _ in range(TRIES):
            port = unused_port()
            try:
                sockets = [_bound(address, port) for address in ADDRESSES]
            except OSError:
                continue
            self.ports[name] = port
            self._listening += [(name, one) for one in sockets]
            return
        raise OSError("no port is free on every loopback address")

    @asynccontextmanager
    async def lives(self) -> AsyncIterator[None]:
        for name, listening in self._listening:
            self._begin(self._accept(name, listening))
        yield
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for _, listening in self._listening:
            listening.close()

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, name: str, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            accepted, _ = await loop.sock_accept(listening)
            self._begin(self._serve(name, accepted))

    async def _serve(self, name: str, accepted: socket.socket) -> None:
        """Serve one connection: its first byte tells TLS from plain text."""
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(accepted, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(accepted)
        try:
            first = accepted.recv(1, socket.MSG_PEEK)
            tls = self._tls if first == b"\x16" else None
            if first:
                protocol = _answering(name)
                await loop.connect_accepted_socket(protocol, accepted, ssl=tls)
                return
        except OSError:
            pass  # Envoy has closed it, or does not trust the certificate
        accepted.close()


def _bound(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(256)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _context(authority: Authority, directory: Path) -> ssl.SSLContext:
    pair = authority.sign(dns=(SERVER_NAME,))
    certificate, key = directory / "backend.pem", directory / "backend.key"
    certificate.write_bytes(pair.certificate)
    key.write_bytes(pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _answering(name: str) -> Callable[[], asyncio.Protocol]:
    return lambda: _Answering(name)


class _Answering(asyncio.Protocol):
    """Answers each request, which has no body, with the backend's name."""

    def __init__(self, name: str) -> None:
        self._name = name.encode()
        self._received = bytearray()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._received[:end]).split(b"\r\n")
            del self._received[: end + 4]
            sent_for = b""
            for line in head[1:]:
                field, _, value = line.partition(b": ")
                if field == b"x-cellway-cell":
                    sent_for = value
            answer = b"HTTP/1.1 200 OK\r\nx-example-cell: %s\r\nx-sent-for: %s\r\n"
            body = b"content-length: 0\r\n\r\n"
            self._transport.write(answer % (self._name, sent_for) + body)
