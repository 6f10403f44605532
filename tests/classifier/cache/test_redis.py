"""The owners' cache in Redis, on a real one: what is kept, and what a broken one costs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.classifier.cache import redis
from control_plane.classifier.cache.memory import OWNED_S, SHARED_S
from control_plane.classifier.cache.protocol import Entry
from control_plane.classifier.cache.redis import PAUSE_S, RedisCache, decode, encode, name_of
from control_plane.topology.values import ClaimKey
from tests.classifier.cache.counts import Counts
from tests.support.conditions import until
from tests.support.redis_server import RedisServer, redis_server

DB = "7-00000001-5-16400"
KEY = ClaimKey("tenant", "acme")
MOST_S = 5.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take longer than a question would wait."""
    monkeypatch.setattr(redis, "ANSWER_S", 0.7)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def cache(server: RedisServer, counts: Counts, clock: Clock) -> AsyncIterator[RedisCache]:
    made = RedisCache(server.url, counts, clock)
    yield made
    await made.close()


async def kept(cache: RedisCache, key: ClaimKey, entry: Entry) -> None:
    """Keep an entry, and wait until it is there."""
    cache.put(DB, [(key, entry)])

    async def there() -> bool:
        return await cache.owners_of(DB, [key]) == [entry]

    await until(there)


async def test_what_one_process_keeps_another_finds(
    cache: RedisCache, server: RedisServer, counts: Counts
) -> None:
    await kept(cache, KEY, Entry(12, 3))
    other = RedisCache(server.url, counts)
    assert await other.owners_of(DB, [ClaimKey("tenant", "x"), KEY]) == [None, Entry(12, 3)]
    assert await other.owners_of("another", [KEY]) == [None]
    await other.close()
    with server.client() as client:
        (name,) = client.keys()
        assert name == b"cellway:owner:7-00000001-5-16400:tenant:acme"
        assert 0 < client.ttl(name) <= redis.ENTRY_S
    assert counts.errors == 0


def test_nothing_lives_longer_for_being_shared() -> None:
    assert redis.ENTRY_S + SHARED_S <= OWNED_S


async def test_many_questions_at_once_are_few_commands(
    cache: RedisCache, server: RedisServer
) -> None:
    keys = [ClaimKey("tenant", f"t{n}") for n in range(600)]
    cache.put(DB, [(key, Entry(n, n + 1)) for n, key in enumerate(keys)])
    with server.client() as client:
        await until(lambda: client.dbsize() == 600)
        client.config_resetstat()
        found = await asyncio.gather(*(cache.owners_of(DB, [key]) for key in keys))
        assert found == [[Entry(n, n + 1)] for n in range(600)]
        assert 1 <= client.info("commandstats")["cmdstat_mget"]["calls"] <= 4


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"1 2",
        b"1 2 cellway:owner:other:tenant:acme",
        b"-1 2 " + name_of(DB, KEY),
        b"1 x " + name_of(DB, KEY),
        b"\xff\x00" * 1000,
    ],
)
async def test_what_is_none_of_ours_is_not_used(
    cache: RedisCache, server: RedisServer, garbage: bytes
) -> None:
    with server.client() as client:
        client.set(name_of(DB, KEY), garbage)
        assert await cache.owners_of(DB, [KEY]) == [None]
        client.delete(name_of(DB, KEY))
        client.lpush(name_of(DB, KEY), b"another type")
        assert await cache.owners_of(DB, [KEY]) == [None]


@given(
    st.text("abcz_09", min_size=1), st.text(min_size=1), st.integers(0, 2**62), st.integers(0, 9**9)
)
def test_entries_come_back_as_they_were(bucket: str, value: str, revision: int, owner: int) -> None:
    name = name_of(DB, ClaimKey(bucket, value.encode("utf-8", "replace").decode()))
    kept = encode(name, Entry(revision, owner))
    assert decode(name, kept) == Entry(revision, owner)
    assert decode(name + b"x", kept) is None


async def test_a_stopped_redis_costs_one_short_wait_and_is_then_left_alone(
    cache: RedisCache, server: RedisServer, counts: Counts, clock: Clock
) -> None:
    await kept(cache, KEY, Entry(12, 3))
    with server.frozen():
        started = time.monotonic()
        found = await asyncio.gather(*(cache.owners_of(DB, [KEY]) for _ in range(1000)))
        assert time.monotonic() - started < MOST_S
        assert found == [[None]] * 1000
        assert counts.errors == 1
        assert await cache.owners_of(DB, [KEY]) == [None]
        assert counts.errors == 1, "it was not asked again"
        clock.now += PAUSE_S
        assert await cache.owners_of(DB, [KEY]) == [None]
        assert counts.errors == 2
        cache.put(DB, [(KEY, Entry(13, 3))])
        await until(lambda: counts.errors == 3)
        cache.put(DB, [(KEY, Entry(14, 3))])
        assert not cache._unsent
    clock.now += PAUSE_S
    await until(lambda: found_again(cache, clock))


async def found_again(cache: RedisCache, clock: Clock) -> bool:
    clock.now += PAUSE_S
    return (await cache.owners_of(DB, [KEY]))[0] is not None


async def test_a_killed_redis_is_used_again_when_it_is_back(
    cache: RedisCache, server: RedisServer, counts: Counts, clock: Clock
) -> None:
    await kept(cache, KEY, Entry(12, 3))
    server.kill()
    assert await cache.owners_of(DB, [KEY]) == [None]
    assert counts.errors == 1
    clock.now += PAUSE_S
    server.start()
    assert await cache.owners_of(DB, [KEY]) == [None], "it has forgotten everything"
    await kept(cache, KEY, Entry(13, 3))


async def test_a_full_redis_is_still_read(
    cache: RedisCache, server: RedisServer, counts: Counts, clock: Clock
) -> None:
    await kept(cache, KEY, Entry(12, 3))
    with server.client() as client:
        client.config_set("maxmemory", "1")
        cache.put(DB, [(ClaimKey("tenant", "more"), Entry(1, 1))])
        await until(lambda: counts.errors == 1)
        assert await cache.owners_of(DB, [KEY]) == [Entry(12, 3)]
        client.config_set("maxmemory", "0")
    clock.now += PAUSE_S
    await kept(cache, ClaimKey("tenant", "more"), Entry(1, 1))


async def test_what_waits_is_bounded(
    cache: RedisCache, counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "MAX_WAITING_FOR_REDIS", 3)
    monkeypatch.setattr(redis, "MAX_UNSENT", 5)
    cache.put(DB, [(ClaimKey("tenant", f"t{n}"), Entry(1, 1)) for n in range(9)])
    assert len(cache._unsent) == 5
    asked = [asyncio.ensure_future(cache.owners_of(DB, [KEY])) for _ in range(6)]
    await asyncio.sleep(0)
    assert len(cache._waiting) <= 3
    assert await asyncio.gather(*asked) == [[None]] * 6


async def test_closing_leaves_nobody_waiting(server: RedisServer, counts: Counts) -> None:
    cache = RedisCache(server.url, counts)
    with server.frozen():
        asked = [asyncio.ensure_future(cache.owners_of(DB, [KEY])) for _ in range(5)]
        await asyncio.sleep(0)
        cache.put(DB, [(KEY, Entry(1, 1))])
        await cache.close()
        async with asyncio.timeout(MOST_S):
            assert await asyncio.gather(*asked) == [[None]] * 5


@pytest.mark.parametrize(
    "answer",
    [
        b"*1\r\n" * 100_000,
        b"a" * 200_000,
        b"*2147483647\r\n",
        b"$2000000000\r\n",
        b"$-5\r\n*-7\r\n",
        b"*1\r\n" + b":" + b"9" * 6000 + b"\r\n",
        b"*1\r\n$%d\r\n" % (5003 + len(name_of(DB, KEY)))
        + b"9" * 5000 + b" 1" + b" " + name_of(DB, KEY) + b"\r\n",
        b",nan\r\n%1\r\n+a\r\n+b\r\n",
        bytes(range(256)),
    ],
)  # fmt: skip
async def test_what_is_no_redis_costs_a_question_of_the_database(
    counts: Counts, clock: Clock, answer: bytes
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while await reader.read(1 << 16):
                writer.write(answer)
                await writer.drain()
        writer.close()

    fake = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = fake.sockets[0].getsockname()[1]
    cache = RedisCache(f"redis://127.0.0.1:{port}", counts, clock)
    try:
        for _ in range(2):
            cache.put(DB, [(KEY, Entry(12, 3))])
            assert await cache.owners_of(DB, [KEY]) == [None]
            assert cache._reading is not None
            await cache._reading
            clock.now += PAUSE_S
    finally:
        await cache.close()
        fake.close()
