"""The owners stream over real gRPC: who follows, who is refused, and who takes nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.names import OWNERS_SERVICE
from control_plane.owners.frames import (
    BEAT,
    BEGIN,
    CHANGES,
    FOLLOW,
    NEVER_MS,
    STATUS,
    ClientMessage,
    decode,
    decode_client,
    encode_client,
)
from control_plane.owners.journal import Journal
from control_plane.owners.server.limits import Limits
from control_plane.owners.server.server import OwnersServer
from tests.owners.tables import KEY_ID, TABLE, Reader, base, journal

OWNERS = {n << 40 | n: 1 + n % 3 for n in range(1, 40)}
METHOD = f"/{OWNERS_SERVICE}/Follow"


class World:
    """A server over a journal, and streams to it."""

    def __init__(self, kept: Journal, limits: Limits | None) -> None:
        self.journal = kept
        self.wanted = 0
        self.refused: list[str] = []
        self.owners = OwnersServer(kept, want=self._want, observer=self, limits=limits)
        self.channel: grpc.aio.Channel
        self.target = ""

    def _want(self) -> None:
        self.wanted += 1

    def reader_refused(self, code: str) -> None:
        self.refused.append(code)

    def stream(self) -> Any:
        return self.channel.stream_stream(METHOD)()

    async def following(self, reader: Reader | None = None, node: str = "n") -> Following:
        """Return a reader that has said what it has."""
        call = self.stream()
        made = Following(call, reader or Reader())
        first = made.reader.follow()
        await call.write(encode_client(ClientMessage(
            FOLLOW, first.revision, first.table, key_id=first.key_id, node_id=node
        )))  # fmt: skip
        return made

    def append(self, revision: int, records: dict[int, int]) -> None:
        self.journal.append(revision, records.items())
        self.journal.seal()
        self.owners.wake()


class Following:
    """A reader and its stream."""

    def __init__(self, call: Any, reader: Reader) -> None:
        self.call = call
        self.reader = reader

    async def upto(self, revision: int) -> None:
        """Take frames until the table is complete up to a revision."""
        while self.reader.revision < revision:
            await self.take()

    async def take(self) -> int:
        """Take one frame; return its kind."""
        frame = decode(await self.call.read())
        self.reader.take(frame)
        return frame.kind

    async def beat(self) -> None:
        """Take frames up to a beat."""
        while await self.take() != BEAT:
            pass

    async def status(self, **more: Any) -> None:
        table, revision = self.reader.table, self.reader.revision
        message = ClientMessage(STATUS, revision, table, 1, len(self.reader.owners), **more)
        await self.call.write(encode_client(message))


@contextlib.asynccontextmanager
async def world(kept: Journal | None = None, limits: Limits | None = None) -> AsyncIterator[World]:
    made = World(kept or journal(OWNERS, 5), limits)
    server = grpc.aio.server()
    made.owners.register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    made.target = f"127.0.0.1:{port}"
    beats = asyncio.create_task(made.owners.run())
    try:
        async with grpc.aio.insecure_channel(made.target) as made.channel:
            yield made
        made.owners.stop()
    finally:
        await server.stop(0)
        beats.cancel()
        await asyncio.gather(beats, return_exceptions=True)
    assert made.owners.streams == 0


async def ended(call: Any) -> tuple[grpc.StatusCode, str]:
    """Read a call to its end; return its status."""
    with contextlib.suppress(grpc.aio.AioRpcError):
        while await call.read() is not grpc.aio.EOF:
            pass
    return await call.code(), await call.details()


async def test_all_readers_get_the_table_and_then_each_change() -> None:
    async with world() as one:
        readers = [await one.following(node=f"n{n}") for n in range(150)]
        await asyncio.gather(*(reader.upto(5) for reader in readers))
        assert one.wanted == 150
        for revision in range(6, 12):
            one.append(revision, {revision: 7, 1 << 40 | 1: revision})
        await asyncio.gather(*(reader.upto(11) for reader in readers))
        wanted = OWNERS | dict.fromkeys(range(6, 12), 7) | {1 << 40 | 1: 11}
        assert all(reader.reader.owners == wanted for reader in readers)


async def test_a_change_of_an_idle_journal_comes_before_the_next_beat() -> None:
    async with world() as one:
        reader = await one.following()
        await reader.beat()
        one.append(6, {3: 3})
        assert await reader.take() == CHANGES


async def test_readers_who_come_first_wait_for_the_base() -> None:
    async with world(Journal()) as one:
        reader = await one.following()
        while not one.wanted:
            await asyncio.sleep(0.001)
        one.journal.begin(base(OWNERS, 9))
        one.owners.wake()
        await reader.upto(9)
        assert reader.reader.owners == OWNERS


async def test_a_reader_goes_on_where_it_was() -> None:
    async with world() as one:
        reader = await one.following()
        await reader.upto(5)
        reader.call.cancel()
        one.append(6, {3: 3})
        again = await one.following(reader.reader)
        assert await again.take() == CHANGES
        assert again.reader.begun == 1
        assert again.reader.owners == OWNERS | {3: 3}


async def test_beats_go_on_and_say_how_old_they_are() -> None:
    async with world() as one:
        one.journal.confirm(one.owners._clock() - 3)
        reader = await one.following()
        for _ in range(3):
            await reader.beat()
        ages = [beat.age_ms for beat in reader.reader.beats]
        assert 3000 <= ages[0] < ages[1] < ages[2]


async def test_what_a_reader_says_of_its_table_is_known() -> None:
    async with world() as one:
        silent, loud = await one.following(node=""), await one.following(node="n1")
        for reader in (silent, loud):
            await reader.beat()
        await loud.status(lag_ms=40)
        while not any(status.revision for status in one.owners.statuses()):
            await asyncio.sleep(0.001)
        first, second = one.owners.statuses()
        assert (first.node, first.revision, first.source) == ("", 0, "")
        assert first.peer.startswith("ipv4:127.0.0.1:")
        assert (second.node, second.revision, second.names) == ("n1", 5, len(OWNERS))
        assert (second.is_current, second.source) == (True, "control plane")
        assert 0.04 <= second.lag_s < 30


async def test_a_table_that_has_heard_no_beat_lags_since_its_reader_came() -> None:
    async with world() as one:
        reader = await one.following(node="n1")
        await reader.beat()
        await reader.status(lag_ms=NEVER_MS)
        while not any(status.revision for status in one.owners.statuses()):
            await asyncio.sleep(0.001)
        (status,) = one.owners.statuses()
        assert 0 <= status.lag_s < 30


GARBAGE = [
    b"",
    b"\x00" * 48,
    b"\x01" * 47,
    encode_client(ClientMessage(FOLLOW))[:-1],
    b"\x09" + encode_client(ClientMessage(FOLLOW))[1:],
    encode_client(ClientMessage(FOLLOW)) + b"\xff",
    encode_client(ClientMessage(FOLLOW)) + b"x" * 257,
    encode_client(ClientMessage(FOLLOW, node_id="a\nb")),
    encode_client(ClientMessage(STATUS, source=1)),
]


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_what_is_no_follow_is_refused(garbage: bytes) -> None:
    async with world() as one:
        call = one.stream()
        await call.write(garbage)
        code, _ = await ended(call)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert one.refused == ["INVALID_ARGUMENT"]


async def test_a_second_follow_ends_the_stream() -> None:
    async with world() as one:
        reader = await one.following()
        await reader.call.write(encode_client(ClientMessage(FOLLOW)))
        assert (await ended(reader.call))[0] is grpc.StatusCode.INVALID_ARGUMENT


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=400))
def test_no_bytes_of_a_client_raise_anything_else(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert encode_client(decode_client(data))[48:] == data[48:]


async def test_a_reader_of_another_key_is_told_so() -> None:
    async with world() as one:
        reader = await one.following(Reader(key_id=KEY_ID + 1))
        code, text = await ended(reader.call)
        assert (code, "another key" in text) == (grpc.StatusCode.FAILED_PRECONDITION, True)


async def test_whoever_says_nothing_or_too_much_is_ended() -> None:
    async with world(limits=Limits(hello_timeout_s=0.01, burst=3, messages_per_s=0.001)) as one:
        code, text = await ended(one.stream())
        assert (code, text) == (grpc.StatusCode.INVALID_ARGUMENT, "no FOLLOW came in 0.01 s")
    async with world(limits=Limits(burst=3, messages_per_s=0.001)) as one:
        reader = await one.following()
        await reader.beat()
        for _ in range(3):
            await reader.status()
        assert (await ended(reader.call))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_streams_are_bounded_in_all_and_for_each_node() -> None:
    async with world(limits=Limits(streams=3, streams_per_node=1)) as one:
        readers = [await one.following(node=node) for node in ("a", "")]
        for reader in readers:
            await reader.beat()
        third = await one.following(node="a")
        code, text = await ended(third.call)
        assert (code, text) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED, "node 'a' has 1 streams open already"
        )  # fmt: skip
        await (await one.following(node="")).beat()
        code, text = await ended((await one.following(node="b")).call)
        assert (code, text) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "3 streams are open")
        readers[0].call.cancel()
        while one.owners.streams > 2:
            await asyncio.sleep(0.001)
        await (await one.following(node="a")).beat()


async def test_a_reader_who_takes_nothing_holds_nobody_up_and_is_ended() -> None:
    many = {n << 20 | 7: 1 for n in range(300_000)}
    async with world(journal(many, 5), Limits(write_timeout_s=0.4)) as one:
        narrow = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_535))
        channel = grpc.aio.insecure_channel(one.target, options=narrow)
        stuck = channel.stream_stream(METHOD)()
        await stuck.write(encode_client(ClientMessage(FOLLOW, key_id=KEY_ID)))
        reader = await one.following(node="quick")
        await reader.upto(5)
        for _ in range(20):
            await reader.beat()
            if one.owners.streams == 1:
                break
        assert one.owners.streams == 1
        assert (await stuck.read())[0] == BEGIN
        await channel.close()


async def test_a_server_that_stops_ends_its_streams() -> None:
    async with world() as one:
        reader = await one.following()
        await reader.beat()
        one.owners.stop()
        assert (await ended(reader.call))[0] is grpc.StatusCode.OK
        late = await one.following()
        assert (await ended(late.call))[0] is grpc.StatusCode.OK


async def test_a_reader_who_is_ahead_has_the_source_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("control_plane.owners.server.server.AHEAD_S", 0.0)
    async with world() as one:
        ahead = Reader()
        ahead.table, ahead.revision = TABLE, 9
        reader = await one.following(ahead)
        while one.wanted < 3:
            await asyncio.sleep(0.01)
        assert caplog.text.count("n at ipv4:127.0.0.1") == 1
        one.append(9, {1: 1})
        one.append(10, {2: 1})
        await reader.upto(10)
        assert reader.reader.begun == 0
