"""Streams of a journal: real gRPC, real readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from unittest.mock import patch

import grpc
import pytest

from control_plane.owners.frames import AGENT_LIVE, MAX_RECORDS, encode_client
from control_plane.owners.grpc_service import METHOD
from control_plane.owners.journal import Journal
from control_plane.owners.serving import Readers, TooSlow
from tests.owners.servers import Client, OwnersServer
from tests.owners.tables import KEY_ID, TABLE, Reader, base, journal
from tests.support.conditions import until


async def test_a_table_comes_and_then_each_change() -> None:
    owners = dict.fromkeys(range(3 * MAX_RECORDS), 4)
    async with (
        OwnersServer(journal(owners, 12)).running() as server,
        Client(f"127.0.0.1:{server.port}") as client,
    ):
        await client.until_revision(12)
        server.put(13, (1, 9))
        await client.until_revision(13)
        assert client.reader.owners == owners | {1: 9}
        await client.until_beat()
        assert client.reader.beats[-1].age_ms < 5_000


async def test_a_hundred_readers_share_what_is_gathered_and_lose_nothing() -> None:
    async with OwnersServer(journal({}, 1)).running() as server:
        clients = [Client(f"127.0.0.1:{server.port}") for _ in range(100)]
        for client in clients:
            await client.__aenter__()
        await asyncio.gather(*(client.until_revision(1) for client in clients))
        for revision in range(2, 200):
            server.put(revision, (revision, revision))
        await asyncio.gather(*(client.until_revision(199) for client in clients))
        assert all(client.reader.owners == {r: r for r in range(2, 200)} for client in clients)
        assert server.journal.end < 20, "changes are gathered into few frames"
        for client in clients:
            await client.__aexit__()
        await until(lambda: len(server.readers) == 0)


async def test_what_a_reader_tells_is_passed_on() -> None:
    async with (
        OwnersServer(journal({1: 4}, 12)).running() as server,
        Client(f"127.0.0.1:{server.port}") as client,
    ):
        await client.until_revision(12)
        await client.tell(AGENT_LIVE)
        await until(lambda: bool(server.told))
        assert (server.told[0].revision, server.told[0].source) == (12, AGENT_LIVE)


async def test_a_reader_that_comes_before_the_base_waits_for_it() -> None:
    async with (
        OwnersServer(Journal()).running() as server,
        Client(f"127.0.0.1:{server.port}") as client,
    ):
        await until(lambda: len(server.readers) == 1)
        server.journal.begin(base({1: 4}, 12))
        server.readers.wake()
        await client.until_revision(12)


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (b"garbage", grpc.StatusCode.INVALID_ARGUMENT),
        (encode_client(Reader(KEY_ID + 1).follow()), grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
async def test_who_can_not_be_served_is_told_why(first: bytes, code: grpc.StatusCode) -> None:
    async with (
        OwnersServer(journal({1: 4}, 12)).running() as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        call = channel.stream_stream(METHOD)()
        await call.write(first)
        assert await call.code() == code
        assert await call.details()


async def test_a_second_follow_on_a_stream_is_refused() -> None:
    async with (
        OwnersServer(journal({1: 4}, 12)).running() as server,
        Client(f"127.0.0.1:{server.port}") as client,
    ):
        await client.call.write(encode_client(client.reader.follow()))
        with pytest.raises(grpc.aio.AioRpcError, match="only the first message"):
            await client.until_revision(13)


async def test_a_reader_newer_than_the_journal_is_sent_elsewhere_after_a_while() -> None:
    reader = Reader()
    reader.table, reader.revision = TABLE, 99
    with patch("control_plane.owners.serving.AHEAD_S", 0.0):
        async with (
            OwnersServer(journal({1: 4}, 12)).running() as server,
            Client(f"127.0.0.1:{server.port}", reader) as client,
        ):
            with pytest.raises(grpc.aio.AioRpcError, match="older than"):
                await client.next()


async def test_a_reader_that_accepts_nothing_is_dropped() -> None:
    async def messages() -> AsyncIterator[bytes]:
        yield encode_client(Reader().follow())
        await asyncio.Event().wait()

    async def write(_: bytes) -> None:
        await asyncio.Event().wait()

    with patch("control_plane.owners.serving.WRITE_S", 0.01), pytest.raises(TooSlow):
        await Readers(journal({1: 4}, 12)).serve(messages(), write)


async def test_a_stream_without_a_message_is_ended() -> None:
    with patch("control_plane.owners.serving.HELLO_S", 0.05):
        async with (
            OwnersServer(journal({1: 4}, 12)).running() as server,
            grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
        ):
            call = channel.stream_stream(METHOD)()
            assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert "no message came" in (await call.details() or "")
