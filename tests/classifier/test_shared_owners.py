"""Classifier processes that share the table of owners of their server: PostgreSQL may die."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from control_plane.server import Running
from control_plane.topology import Subject
from control_plane.topology.values import ClaimKey, ClaimSpec
from tests.support.conditions import until
from tests.support.plane import add_cell, edge_secret, plane_with, samples
from tests.support.postgres import Postgres, postgres

NAMES = 30
RULE = {
    "id": "tenant",
    "match": {"type": "path", "regexValue": "^/(?<a>[^/]+)"},
    "action": "classify",
    "classify": {"claims": [{"tenant": "${a}"}]},
}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture
def url(server: Postgres) -> Iterator[str]:
    with server.database("owners") as made:
        yield made


@asynccontextmanager
async def plane(
    url: str, directory: Path, workers: int
) -> AsyncIterator[tuple[Running, httpx.AsyncClient]]:
    async with plane_with(
        directory,
        database_url=url,
        classifier_workers=workers,
        classifier_restart_s=0.05,
        poll_interval_s=0.05,
    ) as (running, api):
        topology = running.topology
        for number in (1, 2):
            add_cell(topology, f"cell-{number}")
        topology.rulesets.put("r", json.dumps({"name": "r", "rules": [RULE]}), actor="t")
        topology.rulesets.activate("r", 1, actor="t")
        made = [ClaimSpec("tenant", f"t{n}", f"cell-{n % 2 + 1}", f"s{n}") for n in range(NAMES)]
        topology.claims.claim(made, actor="t")
        yield running, api


class Edge:
    """Asks the classifier as an edge's cache does; each question connects anew."""

    def __init__(self, running: Running) -> None:
        self._client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{running.ports.classifier}",
            headers=edge_secret(running.topology),
            limits=httpx.Limits(max_keepalive_connections=0),
            trust_env=False,
            timeout=20,
        )

    async def told(self, name: str, known: int) -> tuple[str, int]:
        """Return what a classifier says, and as of which revision."""
        headers = {"x-cellway-known": str(known)}
        answer = await self._client.get(f"/{name}", headers=headers)
        if answer.status_code == 503:
            return "503", 0
        cell, _, revision, *_ = answer.headers["x-cellway-answer"].split()
        return cell, int(revision)


async def hits(api: httpx.AsyncClient) -> float:
    found = await samples(api)
    return found.get(("cellway_cache_hits_total", (("cache", "owners"),)), 0)


async def answered_by_table(edge: Edge, api: httpx.AsyncClient, name: str, known: int) -> None:
    """Wait until a question is answered by the table."""

    async def there() -> bool:
        before = await hits(api)
        await edge.told(name, known)
        return await hits(api) > before

    await until(there)


async def test_whatever_is_claimed_moved_and_released_an_edge_is_told_no_older_owner(
    url: str, tmp_path: Path
) -> None:
    dice = random.Random(3)
    async with plane(url, tmp_path, 0) as (running, api):
        edge, topology = Edge(running), running.topology
        await answered_by_table(edge, api, "t0", topology.revision())
        cells = {f"t{n}": f"cell-{n % 2 + 1}" for n in range(NAMES)}
        at_revision = {topology.revision(): dict(cells)}
        known = topology.revision()
        for turn in range(15):
            if turn % 5 == 4:
                # However slow the machine is, the table answers some of the questions.
                await answered_by_table(edge, api, "t0", known)
            name = f"t{dice.randrange(NAMES)}"
            if name not in cells:
                cells[name] = dice.choice(("cell-1", "cell-2"))
                spec = ClaimSpec("tenant", name, cells[name], f"s{name[1:]}")
                topology.claims.claim([spec], actor="t")
            elif dice.random() < 0.3:
                del cells[name]
                topology.claims.release([ClaimKey("tenant", name)], actor="t")
            else:
                source = cells[name]
                cells[name] = "cell-1" if source == "cell-2" else "cell-2"
                subject = Subject(text=f"s{name[1:]}")
                topology.moves.move(subject, source, cells[name], reason="r", actor="t")
                known = topology.revision()
            at_revision[topology.revision()] = dict(cells)
            asked = [f"t{dice.randrange(NAMES)}" for _ in range(3)]
            answers = await asyncio.gather(*(edge.told(one, known) for one in (name, *asked)))
            for one, (cell, revision) in zip((name, *asked), answers, strict=True):
                assert revision >= known
                told_then = [
                    owners.get(one, "!404")
                    for when, owners in at_revision.items()
                    if known <= when <= topology.revision()
                ]
                assert cell in told_then
                assert cell == at_revision[revision].get(one, "!404")
        await answered_by_table(edge, api, "t0", topology.revision())
        for one in [f"t{n}" for n in range(NAMES)]:
            assert (await edge.told(one, topology.revision()))[0] == cells.get(one, "!404")


async def test_every_claimed_name_is_answered_without_the_database_and_never_by_an_old_owner(
    server: Postgres, tmp_path: Path
) -> None:
    """The last test with this server, which it kills."""
    async with plane(server.url(), tmp_path, 2) as (running, api):
        edge, topology = Edge(running), running.topology
        await answered_by_table(edge, api, "t0", topology.revision())
        dead = running.workers[0]
        os.kill(dead.pid, signal.SIGKILL)
        await until(lambda: running.workers[0] is not dead)
        topology.moves.move(Subject(text="s1"), "cell-2", "cell-1", reason="r", actor="t")
        revision = topology.revision()
        assert await edge.told("t1", revision) == ("cell-1", revision)
        await answered_by_table(edge, api, "t1", revision)
        server.kill()
        for number in range(NAMES):
            wanted = "cell-1" if number == 1 else f"cell-{number % 2 + 1}"
            assert await edge.told(f"t{number}", revision) == (wanted, revision), number
        assert await edge.told("t0", revision + 1) == ("503", 0), "an edge that knows more"

        async def unknown_is_refused() -> bool:
            return await edge.told("nobody", revision) == ("503", 0)

        await until(unknown_is_refused)
        assert await edge.told("t0", revision) == ("cell-1", revision)
