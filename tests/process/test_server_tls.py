"""A listener over TLS: handshakes with files that are there, are replaced, and don't fit."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.process.embedded_server import embedded, run
from control_plane.process.listening import bind, port_of
from control_plane.process.server_tls import ServerTls
from tests.support.certificates import Authority, Pair, replace


def files(directory: Path, pair: Pair, client_ca: bytes | None = None) -> ServerTls:
    replace(directory / "tls.crt", pair.certificate)
    replace(directory / "tls.key", pair.key)
    if client_ca is not None:
        replace(directory / "ca.crt", client_ca)
    ca = None if client_ca is None else directory / "ca.crt"
    return ServerTls(directory / "tls.crt", directory / "tls.key", ca)


@contextlib.asynccontextmanager
async def listening(tls: ServerTls) -> AsyncIterator[int]:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    sock = bind("127.0.0.1", 0)
    serving = asyncio.create_task(run(embedded(app, tls=tls.context()), sock))
    try:
        yield port_of(sock)
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def serial(port: int, authority: bytes, client: Path | None = None) -> int:
    """Ask over TLS; return the serial number of the server's certificate."""
    context = ssl.create_default_context(cadata=authority.decode())
    # The test's authorities leave key identifiers out.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if client is not None:
        context.load_cert_chain(client)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="localhost"
    )
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 204")
        return int(writer.get_extra_info("peercert")["serialNumber"], 16)
    finally:
        writer.close()


async def test_new_files_are_used_once_they_fit_together(tmp_path: Path) -> None:
    authority = Authority()
    old, new = (authority.sign(dns=("localhost",)) for _ in range(2))
    async with listening(files(tmp_path, old)) as port:
        first = await serial(port, authority.pem)
        replace(tmp_path / "tls.crt", new.certificate)
        assert await serial(port, authority.pem) == first
        replace(tmp_path / "tls.key", new.key)
        assert await serial(port, authority.pem) != first


async def test_a_client_without_a_certificate_is_refused_where_one_is_asked_for(
    tmp_path: Path,
) -> None:
    authority, others = Authority(), Authority("others")
    tls = files(tmp_path, authority.sign(dns=("localhost",)), authority.pem)
    for name, signer in (("known", authority), ("unknown", others)):
        pair = signer.sign(common=name)
        (tmp_path / name).write_bytes(pair.certificate + pair.key)
    async with listening(tls) as port:
        await serial(port, authority.pem, tmp_path / "known")
        for client in (None, tmp_path / "unknown"):
            with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
                await serial(port, authority.pem, client)
        # Whoever signs clients' certificates may be replaced, too.
        replace(tmp_path / "ca.crt", others.pem)
        await serial(port, authority.pem, tmp_path / "unknown")
        with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
            await serial(port, authority.pem, tmp_path / "known")


def test_files_that_can_t_be_used_are_named(tmp_path: Path) -> None:
    authority = Authority()
    one, another = (authority.sign(dns=("localhost",)) for _ in range(2))
    tls = files(tmp_path, one)
    replace(tmp_path / "tls.key", another.key)
    with pytest.raises(OSError, match=r"tls\.crt with the key .*tls\.key: KEY_VALUES_MISMATCH"):
        tls.context()
    with pytest.raises(OSError, match=r"absent.*No such file"):
        ServerTls(tmp_path / "absent", tmp_path / "tls.key").context()
    files(tmp_path, one)
    with pytest.raises(OSError, match=r"client CA .*tls\.key"):
        ServerTls(tmp_path / "tls.crt", tmp_path / "tls.key", tmp_path / "tls.key").context()
