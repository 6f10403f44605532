"""Certificates are replaced while calls are open, and while none is: with a real server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from control_plane.edge_agent.channels import Channels, ClientTls
from tests.support.certificates import Authority, Pair, replace
from tests.support.conditions import until

NAMES: list[str] = []
"""The URI of the client's certificate, of each call that has begun."""


class Echo(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    def service(self, _: Any) -> Any:
        async def echo(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            NAMES.append(context.auth_context()["peer_uri"][0].decode())
            async for request in requests:
                yield request

        return grpc.stream_stream_rpc_method_handler(echo)


@contextlib.asynccontextmanager
async def server(authority: Authority, port: int = 0) -> AsyncIterator[int]:
    pair = authority.sign(dns=("localhost",))
    credentials = grpc.ssl_server_credentials([(pair.key, pair.certificate)], authority.pem, True)
    serving = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    serving.add_generic_rpc_handlers((Echo(),))
    bound = serving.add_secure_port(f"127.0.0.1:{port}", credentials)
    await serving.start()
    try:
        yield bound
    finally:
        await serving.stop(None)


def write(folder: Path, pair: Pair, authority: bytes) -> ClientTls:
    files = ClientTls(folder / "node.crt", folder / "node.key", folder / "ca.pem", "localhost")
    replace(files.certificate, pair.certificate)
    replace(files.key, pair.key)
    replace(files.ca, authority)
    return files


def opened(channels: Channels) -> Any:
    return channels.open(lambda channel: channel.stream_stream("/a/b")())


async def echoed(call: Any, text: bytes) -> bytes:
    await call.write(text)
    async with asyncio.timeout(20):
        answer: bytes = await call.read()
        return answer


async def test_a_call_keeps_its_channel_and_the_next_has_the_new_certificate(
    tmp_path: Path,
) -> None:
    NAMES.clear()
    authority = Authority()
    async with server(authority) as port:
        tls = write(tmp_path, authority.sign("spiffe://x/old"), authority.pem)
        channels = Channels(f"127.0.0.1:{port}", tls, ())
        old = opened(channels)
        assert await echoed(old, b"1") == b"1"
        write(tmp_path, authority.sign("spiffe://x/new"), authority.pem)
        new = opened(channels)
        assert await echoed(new, b"2") == b"2"
        assert await echoed(old, b"3") == b"3", "nothing was broken off"
        assert NAMES == ["spiffe://x/old", "spiffe://x/new"]
        assert len(channels._open) == 2
        old.cancel()
        await until(lambda: len(channels._open) == 1)
        assert await echoed(new, b"4") == b"4"
        await channels.close()


async def test_authorities_are_replaced_with_the_control_plane(tmp_path: Path) -> None:
    first, second = Authority("first"), Authority("second")
    async with server(first) as port:
        tls = write(tmp_path, first.sign("spiffe://x/a"), first.pem)
        channels = Channels(f"127.0.0.1:{port}", tls, ())
        assert await echoed(opened(channels), b"1") == b"1"
    async with server(second, port):
        with pytest.raises(grpc.aio.AioRpcError):
            await echoed(opened(channels), b"2")
        write(tmp_path, second.sign("spiffe://x/b"), first.pem + second.pem)
        assert await echoed(opened(channels), b"3") == b"3"
    await channels.close()


async def test_files_that_don_t_fit_together_leave_the_old_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    NAMES.clear()
    authority = Authority()
    old, new = authority.sign("spiffe://x/old"), authority.sign("spiffe://x/new")
    async with server(authority) as port:
        tls = write(tmp_path, old, authority.pem)
        failures: list[int] = []
        channels = Channels(f"127.0.0.1:{port}", tls, (), lambda: failures.append(1))
        replace(tls.certificate, new.certificate)
        with caplog.at_level(logging.ERROR):
            for _ in range(2):
                assert await echoed(opened(channels), b"1") == b"1"
        assert caplog.text.count("it does not belong to the certificate") == 1
        tls.key.unlink()
        assert await echoed(opened(channels), b"2") == b"2"
        os.mkfifo(tls.key)
        assert await echoed(opened(channels), b"3") == b"3"
        replace(tls.key, new.key)
        assert await echoed(opened(channels), b"4") == b"4"
        assert len(failures) == 3, "one for each state of the files"
        assert NAMES == ["spiffe://x/old"] * 4 + ["spiffe://x/new"]
        await channels.close()
