"""The classifier on PostgreSQL: look-ups share statements, and a slow database is refused early."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from control_plane.server import Running
from control_plane.topology import Subject
from control_plane.topology.lookup import batched
from control_plane.topology.lookup.async_connection import AsyncConnection
from control_plane.topology.lookup.batched import TooManyLookups
from control_plane.topology.values import ClaimKey, ClaimSpec
from tests.support.plane import add_cell, asking, plane_with, samples
from tests.support.postgres import Postgres, postgres

RULE = {
    "id": "tenant",
    "match": {"type": "path", "regexValue": "^/(?<a>[^/]+)"},
    "action": "classify",
    "classify": {"claims": [{"tenant": "${a}"}]},
}
Plane = tuple[Running, httpx.AsyncClient, httpx.AsyncClient]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture
async def plane(server: Postgres, tmp_path: Path) -> AsyncIterator[Plane]:
    with server.database("classifier") as url:
        # Without the table of owners, which would answer in the database's place.
        async with plane_with(tmp_path, database_url=url, edge_module="off") as (running, api):
            topology = running.topology
            for number in (1, 2):
                add_cell(topology, f"cell-{number}")
            topology.rulesets.put("r", json.dumps({"name": "r", "rules": [RULE]}), actor="t")
            topology.rulesets.activate("r", 1, actor="t")
            made = [ClaimSpec("tenant", f"t{n}", f"cell-{n % 2 + 1}", f"s{n}") for n in range(40)]
            topology.claims.claim(made, actor="t")
            async with asking(running) as client:
                yield running, api, client


async def test_many_questions_at_once_get_each_its_own_answer(plane: Plane) -> None:
    running, _, client = plane
    numbers = [n % 45 for n in range(120)]
    answers = await asyncio.gather(*(client.get(f"/t{n}/x") for n in numbers))
    for number, answer in zip(numbers, answers, strict=True):
        wanted = f"cell-{number % 2 + 1}" if number < 40 else "!404"
        assert answer.headers["x-cellway-cell"] == wanted
        revision, _, shards = answer.headers["x-cellway-cache"].split()
        assert int(revision) == running.topology.revision()
        assert shards == str(ClaimKey("tenant", f"t{number}").shard)


async def test_a_move_is_seen_by_the_next_question(plane: Plane) -> None:
    running, _, client = plane
    for turn in range(6):
        source, target = ("cell-1", "cell-2") if turn % 2 == 0 else ("cell-2", "cell-1")
        assert (await client.get("/t0")).headers["x-cellway-cell"] == source
        subject = Subject(text="s0")
        running.topology.moves.move(subject, source, target, reason="r", actor="t")
        assert (await client.get("/t0")).headers["x-cellway-cell"] == target


async def test_who_says_what_it_knows_is_answered_from_the_cache_and_never_too_old(
    plane: Plane,
) -> None:
    running, api, client = plane

    async def ask() -> str:
        known = {"x-cellway-known": str(running.topology.revision())}
        answer = (await client.get("/t0", headers=known)).headers["x-cellway-answer"]
        return str(answer.split()[0])

    assert [await ask() for _ in range(5)] == ["cell-1"] * 5
    subject = Subject(text="s0")
    running.topology.moves.move(subject, "cell-1", "cell-2", reason="r", actor="t")
    assert [await ask() for _ in range(5)] == ["cell-2"] * 5
    running.topology.moves.move(Subject(text="s1"), "cell-2", "cell-1", reason="r", actor="t")
    assert [await ask() for _ in range(5)] == ["cell-2"] * 5
    found = await samples(api)
    # The entry for t0 outlives the move of t1, which is in another shard.
    assert found["cellway_cache_hits_total", (("cache", "classifier"),)] >= 11
    assert found["cellway_cache_misses_total", (("cache", "classifier"),)] <= 4
    # The module is off, so there is no table of owners.
    assert ("cellway_cache_hits_total", (("cache", "owners"),)) not in found


async def test_a_slow_database_is_refused_early_and_recovers(
    plane: Plane, server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, api, client = plane
    assert (await client.get("/t0")).status_code == 200
    monkeypatch.setattr(batched, "MAX_WAITING", 2)
    monkeypatch.setattr(batched, "MAX_BATCH", 1)
    with psycopg.connect(running.settings.database_url) as blocker:
        blocker.execute("LOCK TABLE claims IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        answers = await asyncio.gather(*(client.get(f"/t{n}") for n in range(12)))
        assert time.monotonic() - started < 15
    errors = [answer.headers.get("x-cellway-error") for answer in answers]
    assert {answer.status_code for answer in answers} == {503}
    refused = errors.count("too many look-ups wait for the database")
    assert refused + errors.count("the database can't be read") == 12
    assert refused >= 8
    assert (await samples(api))["cellway_classifier_refused_total", ()] == refused
    monkeypatch.undo()
    assert (await client.get("/t0")).headers["x-cellway-cell"] == "cell-1"


async def test_a_lost_connection_is_made_anew(plane: Plane, server: Postgres) -> None:
    _, _, client = plane
    assert (await client.get("/t0")).status_code == 200
    with psycopg.connect(server.url(), autocommit=True) as operator:
        operator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = 'classifier' AND query LIKE '%unnest%'"
        )
    assert (await client.get("/t1")).headers["x-cellway-cell"] == "cell-2"


async def test_what_many_ask_for_is_looked_up_once(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    real = AsyncConnection.rows

    async def noted(
        self: AsyncConnection, sql: str, arrays: tuple[list[str], list[str]]
    ) -> list[object]:
        sent.append(len(arrays[0]))
        return await real(self, sql, arrays)

    monkeypatch.setattr(AsyncConnection, "rows", noted)
    lookup = plane[0].topology.batched_lookup()
    assert lookup is not None
    found = await asyncio.gather(*(lookup.owners_of([("tenant", "T7")]) for _ in range(50)))
    assert {tuple(one.owners) for one in found} == {(2,)}
    assert sum(sent) <= 2
    monkeypatch.setattr(batched, "MAX_WAITING", 0)
    with pytest.raises(TooManyLookups):
        await lookup.owners_of([("tenant", "t7")])
    await lookup.close()
