"""The server's connections: idle, slow and silent ones are closed, and all are when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from control_plane.classifier import connections, http, http_connection
from control_plane.classifier.authentication import Authentication
from control_plane.classifier.decide import Decider
from control_plane.classifier.http import ClassifierServer
from control_plane.classifier.metrics import ClassifierMetrics
from control_plane.classifier.options import PortOptions
from control_plane.topology import Topology
from tests.support.certificates import Authority, replace
from tests.support.conditions import until
from tests.support.plane import edge_secret

LOOPBACK = "127.0.0.1"


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    opened = Topology.open(f"sqlite:///{tmp_path}/h.db")
    yield opened
    opened.close()


@contextlib.asynccontextmanager
async def serving(
    topology: Topology, options: PortOptions | None = None
) -> AsyncIterator[tuple[ClassifierServer, int]]:
    """Serve while no ruleset is active: these tests are about connections."""
    metrics = ClassifierMetrics(CollectorRegistry())
    authentication = Authentication(topology.edge_secrets.read, metrics)
    decider = Decider(topology)
    server = ClassifierServer(decider, metrics, authentication, None, options)
    sock = socket.create_server((LOOPBACK, 0))
    port = sock.getsockname()[1]
    task = asyncio.create_task(server.run(sock))
    try:
        yield server, port
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        decider.close()


def question(topology: Topology, path: str = "/") -> bytes:
    ((name, secret),) = edge_secret(topology).items()
    return f"GET {path} HTTP/1.1\r\nhost: a\r\n{name}: {secret}\r\n\r\n".encode()


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the end, which must come."""
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(10):
            return await reader.read()
    return b""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "SWEEP_S", 0.01)


@pytest.mark.usefixtures("quick")
async def test_a_connection_that_does_not_show_the_secret_is_closed_soon(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "STRANGER_S", 0.05)
    async with serving(topology) as (server, port):
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        edge_reader, edge = await asyncio.open_connection(LOOPBACK, port)
        edge.write(question(topology))
        assert (await edge_reader.readline()).startswith(b"HTTP/1.1 503")
        assert await ended(reader) == b""
        await until(lambda: len(server.connections) == 1)
        edge.write(question(topology))
        await edge_reader.readuntil(b"HTTP/1.1 503")
        for one in (writer, edge):
            one.close()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("rest", [b"", b"GET / HT"])
async def test_an_edge_that_sends_nothing_more_is_closed_in_its_time(
    topology: Topology, monkeypatch: pytest.MonkeyPatch, rest: bytes
) -> None:
    monkeypatch.setattr(http_connection, "HEAD_S" if rest else "IDLE_S", 0.05)
    async with serving(topology) as (_, port):
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(question(topology) + rest)
        assert (await ended(reader)).startswith(b"HTTP/1.1 503")
        writer.close()


@pytest.mark.usefixtures("quick")
async def test_a_head_that_comes_byte_by_byte_has_no_more_time_than_another(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connection, "HEAD_S", 0.05)
    async with serving(topology) as (server, port):
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(question(topology))
        await reader.readline()
        writer.write(b"GET / HTTP/1.1\r\n")

        async def gone() -> bool:
            writer.write(b"a: b\r\n")
            return len(server.connections) == 0

        await until(gone)
        writer.close()


async def test_the_end_of_the_server_closes_all_connections(topology: Topology) -> None:
    async with serving(topology) as (server, port):
        opened = [await asyncio.open_connection(LOOPBACK, port) for _ in range(3)]
        await until(lambda: len(server.connections) == 3)
    for reader, writer in opened:
        assert await ended(reader) == b""
        writer.close()
    await until(lambda: len(server.connections) == 0)


async def test_another_secret_must_be_shown_when_another_counts(topology: Topology) -> None:
    async with serving(topology) as (server, port):
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        old = question(topology)
        for _ in range(2):
            topology.edge_secrets.rotate(actor="t", force=True)
        writer.write(old)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 503")
        authentication = server._port.authentication
        authentication._take(topology.edge_secrets.read())
        server.connections.distrust_all()
        writer.write(old)
        assert (await ended(reader)).startswith(b"HTTP/1.1 403")
        writer.close()


def tls_options(directory: Path, authority: Authority, name: str = "classifier") -> PortOptions:
    pair = authority.sign(dns=(name,))
    files = directory / "c.pem", directory / "k.pem"
    replace(files[0], pair.certificate)
    replace(files[1], pair.key)
    return PortOptions(tls_certificate=str(files[0]), tls_key=str(files[1]))


@pytest.mark.usefixtures("quick")
async def test_over_tls_the_newest_certificate_is_shown(topology: Topology, tmp_path: Path) -> None:
    first, second = Authority(), Authority("another")
    async with serving(topology, tls_options(tmp_path, first)) as (_, port):

        async def answer(authority: Authority) -> bytes:
            trust = ssl.create_default_context(cadata=authority.pem.decode())
            # The authority of the tests has no key identifiers.
            trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
            try:
                reader, writer = await asyncio.open_connection(
                    LOOPBACK, port, ssl=trust, server_hostname="classifier"
                )
            except ssl.SSLCertVerificationError:
                return b"untrusted"
            writer.write(question(topology))
            line = await reader.readline()
            writer.close()
            return line

        assert (await answer(first)).startswith(b"HTTP/1.1 503")
        (tmp_path / "k.pem").write_bytes(b"no key")
        assert (await answer(first)).startswith(b"HTTP/1.1 503")
        tls_options(tmp_path, second)

        async def shown() -> bool:
            return (await answer(second)).startswith(b"HTTP/1.1 503")

        await until(shown)
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(question(topology))
        assert b"HTTP" not in await ended(reader)
        writer.close()


async def test_silent_handshakes_make_room_as_other_strangers_do(
    topology: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_PEER_STRANGERS", 2)
    async with serving(topology, tls_options(tmp_path, Authority())) as (server, port):
        opened = [await asyncio.open_connection(LOOPBACK, port) for _ in range(5)]
        for reader, writer in opened[:3]:
            assert await ended(reader) == b""
            writer.close()
        assert len(server.connections) == 2
        for _, writer in opened[3:]:
            writer.close()
