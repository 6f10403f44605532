"""Keys are fetched when they are needed, seldom, and never lost: with a real HTTP server."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Collection
from pathlib import Path

import pytest

from control_plane.api.oidc import key_source as module
from control_plane.api.oidc.key_source import MAX_AGE_S, MIN_INTERVAL_S, KeySource
from control_plane.api.oidc.keys import MAX_JWKS_BYTES, MAX_KEYS, KeySet, read_keys
from tests.api.oidc.issuer import OTHER_RSA_KEY, RSA_KEY, Counts, jwk, jwks, key_server, provider
from tests.support.conditions import until

NEW = jwks(jwk(OTHER_RSA_KEY, kid="new"))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_rotated_key_is_found_and_a_flood_of_unknown_ones_asks_once() -> None:
    clock, counts = Clock(), Counts()
    async with key_server() as server:
        source = KeySource(provider(server.url), counts, clock)
        together = await asyncio.gather(*(source.keys("r") for _ in range(50)))
        assert server.requests == 1
        assert all(keys is together[0] and keys.has("r") for keys in together)
        server.document = NEW
        for number in range(100):
            assert not (await source.keys(f"x{number}")).has(f"x{number}")
        assert server.requests == 1, "the last fetch was a moment ago"
        clock.now += MIN_INTERVAL_S
        flood = await asyncio.gather(*(source.keys(f"y{number}") for number in range(100)))
        assert server.requests == 2
        assert all(keys.has("new") for keys in flood)
        assert (await source.keys("new")).has("new")
        assert (server.requests, counts.fetches) == (2, ["ok", "ok"])
        await source.close()


async def test_an_old_set_serves_while_it_is_fetched_again() -> None:
    clock, counts = Clock(), Counts()
    async with key_server() as server:
        source = KeySource(provider(server.url), counts, clock)
        first = await source.keys("r")
        clock.now += MAX_AGE_S
        server.document, server.hold = NEW, asyncio.Event()
        for _ in range(5):
            assert await source.keys("r") is first
        await until(lambda: server.requests == 2)
        server.hold.set()
        await until(lambda: len(counts.fetches) == 2)
        assert (await source.keys("new")).has("new")
        assert server.requests == 2
        await source.close()


@pytest.mark.parametrize(
    ("status", "document", "headers"),
    [
        ("500 Oops", b"{}", ""),
        ("302 Found", NEW, "location: http://127.0.0.1:1/\r\n"),
        ("200 OK", b"<html>", ""),
        ("200 OK", b'{"keys": []}', ""),
        ("200 OK", b" " * (MAX_JWKS_BYTES + 1), ""),
        ("200 OK", b"x", "content-encoding: gzip\r\n"),
        ("not HTTP", b"", ""),
    ],
)
async def test_a_failed_fetch_leaves_the_last_good_set(
    status: str, document: bytes, headers: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock, counts = Clock(), Counts()
    async with key_server() as server:
        source = KeySource(provider(server.url), counts, clock)
        first = await source.keys("r")
        server.status, server.document, server.more_headers = status, document, headers
        clock.now += MAX_AGE_S * 1000
        assert await source.keys("unknown") is first
        assert await source.keys("r") is first
        assert counts.fetches == ["ok", "failed"]
        assert "the last good ones stay" in caplog.text
        await source.close()


async def test_an_issuer_that_hangs_is_waited_for_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FETCH_S", 0.5)
    counts = Counts()
    async with key_server() as server:
        server.hold = asyncio.Event()
        source = KeySource(provider(server.url), counts)
        assert await asyncio.gather(*(source.keys("r") for _ in range(5))) == [None] * 5
        assert counts.fetches == ["failed"]
        assert await source.keys("r") is None, "without another fetch"
        assert server.requests <= 1
        assert counts.fetches == ["failed"]


async def test_a_client_that_gives_up_leaves_the_fetch_to_the_others() -> None:
    async with key_server() as server:
        server.hold = asyncio.Event()
        source = KeySource(provider(server.url), Counts())
        first, second = (asyncio.create_task(source.keys("r")) for _ in range(2))
        await until(lambda: server.requests == 1)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        server.hold.set()
        assert (await second).has("r")


async def test_keys_in_a_file_and_what_is_no_file(tmp_path: Path) -> None:
    clock, counts = Clock(), Counts()
    file = tmp_path / "jwks.json"
    file.write_bytes(NEW)
    source = KeySource(provider(str(file)), counts, clock)
    good = await source.keys("new")
    assert good.has("new")
    os.mkfifo(tmp_path / "fifo")
    for wrong in (tmp_path / "fifo", tmp_path, tmp_path / "none"):
        other = KeySource(provider(str(wrong)), counts, clock)
        assert await other.keys("new") is None
    file.unlink()
    clock.now += MIN_INTERVAL_S
    assert await source.keys("x") is good
    assert counts.fetches == ["ok", *["failed"] * 4]


async def test_what_waits_for_a_fetch_ends_with_the_source() -> None:
    async with key_server() as server:
        server.hold = asyncio.Event()
        source = KeySource(provider(server.url), Counts())
        waiting = asyncio.create_task(source.keys("r"))
        await until(lambda: server.requests == 1)
        await source.close()
        assert await waiting is None


async def test_a_large_key_set_does_not_hold_up_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    def read(document: bytes, allowed: Collection[str]) -> KeySet:
        threads.append(threading.current_thread().name)
        return read_keys(document, allowed)

    monkeypatch.setattr(module, "read_keys", read)
    many = jwks(*(jwk(RSA_KEY, kid=str(number)) for number in range(MAX_KEYS)))
    async with key_server(many) as server:
        keys = await KeySource(provider(server.url), Counts()).keys("1")
    assert keys.has(str(MAX_KEYS - 1))
    (thread,) = threads
    assert thread.startswith("oidc-keys")
