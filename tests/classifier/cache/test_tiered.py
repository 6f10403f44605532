"""Classifiers on PostgreSQL that share look-ups through Redis: warm starts, and never too old."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from control_plane.classifier.cache import redis as shared_cache
from control_plane.classifier.cache.tiered import CachedLookup, open_cached_lookup
from control_plane.classifier.decide import Decider
from control_plane.routing.model import ClaimKey, Request
from control_plane.topology import Subject, Topology
from control_plane.topology.maintenance.backup import advance
from control_plane.topology.storage.engines import migrate
from control_plane.topology.values import ClaimSpec
from tests.classifier.cache.counts import Counts
from tests.support.conditions import until
from tests.support.plane import add_cell, asking, plane_with, samples
from tests.support.postgres import Postgres, binaries, postgres
from tests.support.redis_server import RedisServer, redis_server

RULE = {
    "id": "tenant",
    "match": {"type": "path", "regexValue": "^/(?<a>[^/]+)"},
    "action": "classify",
    "classify": {"claims": [{"tenant": "${a}"}]},
}
KEY = ("tenant", "t0")
TENANTS = 20


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take longer than a question would wait."""
    monkeypatch.setattr(shared_cache, "ANSWER_S", 1.0)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture
def url(server: Postgres) -> Iterator[str]:
    with server.database("shared") as made:
        yield made


@pytest.fixture
def topology(url: str) -> Iterator[Topology]:
    made = Topology.open(url)
    load(made)
    yield made
    made.close()


def load(topology: Topology, owner: str = "cell-1") -> None:
    for number in (1, 2):
        add_cell(topology, f"cell-{number}")
    topology.rulesets.put("r", json.dumps({"name": "r", "rules": [RULE]}), actor="t")
    topology.rulesets.activate("r", 1, actor="t")
    names = [ClaimSpec("tenant", f"t{n}", owner, f"s{n}") for n in range(TENANTS)]
    topology.claims.claim(names, actor="t")


@contextlib.asynccontextmanager
async def classifier(
    topology: Topology, redis: RedisServer
) -> AsyncIterator[tuple[CachedLookup, Counts]]:
    """What one process looks up with."""
    counts = Counts()
    lookup = open_cached_lookup(topology, counts, redis.url)
    assert lookup is not None
    try:
        yield lookup, counts
    finally:
        await lookup.close()


def entries(redis: RedisServer) -> int:
    with redis.client() as client:
        return int(client.dbsize())


async def owners(lookup: CachedLookup, keys: Sequence[ClaimKey], known: int) -> list[int | None]:
    return list((await lookup.owners_of(keys, known)).owners)


def run(program: str, *arguments: str) -> None:
    subprocess.run([binaries() / program, *arguments], check=True, timeout=60)


async def fill(lookup: CachedLookup, redis: RedisServer, known: int) -> None:
    """Have a process look every tenant up, and wait until Redis has them."""
    for number in range(TENANTS):
        await lookup.owners_of([("tenant", f"t{number}")], known)
    await until(lambda: entries(redis) >= TENANTS)


async def test_a_new_classifier_starts_warm(topology: Topology, redis: RedisServer) -> None:
    known = topology.revision()
    async with classifier(topology, redis) as (old, _), classifier(topology, redis) as (new, seen):
        await fill(old, redis, known)
        # The first question goes to the database: to hear of its epochs, and which one it is.
        for number in range(TENANTS):
            found = await new.owners_of([("tenant", f"T{number}")], known)
            assert (list(found.owners), found.revision) == ([1], known)
        assert seen.seen["redis", "hits"] == TENANTS - 1
        assert seen.seen["redis", "errors"] == 0
        assert await owners(new, [("tenant", "t1")], known) == [1]
        assert seen.seen["classifier", "hits"] == 1, "what Redis had is in the process now"


async def test_after_a_move_nobody_who_knows_of_it_gets_what_was_before(
    topology: Topology, redis: RedisServer
) -> None:
    before = topology.revision()
    async with classifier(topology, redis) as (old, _), classifier(topology, redis) as (new, seen):
        await fill(old, redis, before)
        subject = Subject(text="s0")
        topology.moves.move(subject, "cell-1", "cell-2", reason="r", actor="t")
        after = topology.revision()
        await new.owners_of([("tenant", "t5")], before)
        assert await owners(new, [KEY], after) == [2]
        # Of another shard: what Redis has from before the move still holds.
        assert await owners(new, [("tenant", "t1")], after) == [1]
        assert seen.seen["redis", "hits"] == 1
        assert await owners(old, [KEY], after) == [2]


async def test_names_that_are_nobodys_are_not_shared(
    topology: Topology, redis: RedisServer
) -> None:
    known = topology.revision()
    async with classifier(topology, redis) as (one, _):
        await one.owners_of([("tenant", "nobody"), KEY, ("user_id", "no number")], known)
        await until(lambda: entries(redis) == 1)
        with redis.client() as client:
            assert client.keys()[0].endswith(b":tenant:t0")


async def test_of_another_database_behind_the_same_redis_nothing_is_used(
    topology: Topology, server: Postgres, redis: RedisServer
) -> None:
    with server.database("other") as other_url:
        other = Topology.open(other_url)
        load(other, owner="cell-2")
        assert other.revision() == topology.revision(), "revisions alone can't tell them apart"
        known = other.revision()
        async with (
            classifier(topology, redis) as (one, _),
            classifier(other, redis) as (two, seen),
        ):
            await fill(one, redis, known)
            for number in range(TENANTS):
                assert await owners(two, [("tenant", f"t{number}")], known) == [2]
            assert seen.seen["redis", "hits"] == 0
        other.close()


async def test_a_database_that_is_made_anew_under_its_name_is_another(
    server: Postgres, redis: RedisServer
) -> None:
    found: list[int | None] = []
    for owner in ("cell-1", "cell-2"):
        with server.database("again") as url:
            topology = Topology.open(url)
            load(topology, owner)
            async with classifier(topology, redis) as (lookup, seen):
                known = topology.revision()
                await lookup.owners_of([("tenant", "t1")], known)
                found.extend(await owners(lookup, [KEY], known))
                await until(lambda: entries(redis) == 2 * len(found))
                assert seen.seen["redis", "hits"] == 0
            topology.close()
    assert found == [1, 2]


async def test_a_restored_database_is_never_answered_from_before_the_restore(
    topology: Topology, url: str, redis: RedisServer, tmp_path: Path
) -> None:
    dump = tmp_path / "cellway.dump"
    run("pg_dump", "-Fc", f"--file={dump}", url)
    topology.moves.move(Subject(text="s0"), "cell-1", "cell-2", reason="r", actor="t")
    lost = topology.revision()
    async with classifier(topology, redis) as (lookup, _):
        await fill(lookup, redis, lost)
    topology.close()
    restored = Topology.open(url, migrate_first=False)
    run("pg_restore", "--clean", "--if-exists", f"--dbname={url}", str(dump))
    migrate(restored.engine)
    advance(restored._store, lost)
    async with classifier(restored, redis) as (lookup, seen):
        known = restored.revision()
        assert known > lost
        await lookup.owners_of([("tenant", "t1")], known)
        assert await owners(lookup, [KEY], known) == [1]
        assert seen.seen["redis", "hits"] == 0
    restored.close()


async def test_after_a_restore_that_keeps_the_tables_epochs_void_what_was_before(
    topology: Topology, redis: RedisServer
) -> None:
    """As when a file system's snapshot is put back: nothing but `advance` tells of it."""
    lost = topology.revision()
    async with classifier(topology, redis) as (lookup, _):
        await fill(lookup, redis, lost)
    new = advance(topology._store, lost)
    async with classifier(topology, redis) as (lookup, seen):
        await lookup.owners_of([("tenant", "t1")], new)
        assert await owners(lookup, [KEY], new) == [1]
        assert seen.seen["redis", "hits"] == 0


async def test_without_redis_the_database_answers_and_with_it_again_redis(
    topology: Topology, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_cache, "PAUSE_S", 0.0)
    monkeypatch.setattr(shared_cache, "ANSWER_S", 0.3)
    known = topology.revision()
    names = [("tenant", f"t{n}") for n in range(TENANTS)]

    async def ask(lookup: CachedLookup) -> None:
        found = await asyncio.gather(*(lookup.owners_of([name], known) for name in names))
        assert [list(one.owners) for one in found] == [[1]] * TENANTS

    async with classifier(topology, redis) as (lookup, _):
        await fill(lookup, redis, known)
    async with classifier(topology, redis) as (lookup, seen):
        await lookup.owners_of([KEY], known)
        with redis.frozen():
            await ask(lookup)
        assert seen.errors > 0
    async with classifier(topology, redis) as (lookup, seen):
        await lookup.owners_of([KEY], known)
        redis.kill()
        await ask(lookup)
        assert seen.errors > 0
        assert seen.seen["redis", "hits"] == 0
        redis.start()
    async with classifier(topology, redis) as (lookup, _):
        await fill(lookup, redis, known)
    async with classifier(topology, redis) as (lookup, seen):
        await lookup.owners_of([KEY], known)
        await ask(lookup)
        assert seen.seen["redis", "hits"] > 0


async def test_cells_that_the_cache_has_not_heard_of_don_t_unsettle_a_question(
    topology: Topology, redis: RedisServer
) -> None:
    async with classifier(topology, redis) as (lookup, _):
        decider = Decider(topology)
        request = Request("GET", b"h", b"/t0", ())
        known = topology.revision()
        await decider.decide_async(lookup, request, known)
        add_cell(topology, "cell-3")
        decider.reload()
        verdict = await decider.decide_async(lookup, request, known)
        assert verdict.decision.rule == "tenant"
        assert verdict.revision == topology.revision()
        decider.close()


async def test_the_server_and_its_processes_use_it(
    url: str, redis: RedisServer, tmp_path: Path
) -> None:
    async with plane_with(
        tmp_path, database_url=url, redis_url=redis.url, classifier_workers=1, edge_module="off"
    ) as (plane, api):
        load(plane.topology)
        known = str(plane.topology.revision())

        async def ask(client: httpx.AsyncClient, number: int) -> None:
            answer = await client.get(f"/t{number}", headers={"x-cellway-known": known})
            assert answer.headers["x-cellway-answer"].startswith("cell-1 ")

        async with asking(plane) as client:
            for number in range(TENANTS):
                await ask(client, number)
        await until(lambda: entries(redis) == TENANTS)
        plane.workers[0].kill()
        await plane.workers[0].wait()
        first = plane.workers[0].pid
        await until(lambda: plane.workers[0].pid != first)
        async with asking(plane) as client:
            for number in range(TENANTS):
                await ask(client, number)

        async def counted() -> bool:
            found = await samples(api)
            hits = found.get(("cellway_cache_hits_total", (("cache", "redis"),)), 0)
            return hits == TENANTS - 1

        await until(counted)
