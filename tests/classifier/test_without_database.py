"""PostgreSQL hung (SIGSTOP) or dead: questions are refused soon, and nothing else waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import httpx
import pytest
from envoy.service.auth.v3 import external_auth_pb2, external_auth_pb2_grpc

from control_plane.classifier.failures import Reason
from control_plane.publisher import publisher
from control_plane.server import Running
from control_plane.topology import Subject
from control_plane.topology.values import ClaimSpec
from tests.support.conditions import until
from tests.support.loop_lag import loop_is_free
from tests.support.plane import add_cell, asking, edge_metadata, plane_with, samples
from tests.support.postgres import Postgres, postgres

RULE = {
    "id": "tenant",
    "match": {"type": "path", "regexValue": "^/(?<a>[^/]+)"},
    "action": "classify",
    "classify": {"claims": [{"tenant": "${a}"}]},
}
MOST_S = 4.5
"""For a refusal: psycopg waits 5 s and longer for a server that hangs."""
LAG_S = 1.5
"""For the event loop on a busy machine; a blocking call would take 5 s or for ever."""
Plane = tuple[Running, httpx.AsyncClient, httpx.AsyncClient]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@contextlib.asynccontextmanager
async def deciding(directory: Path, url: str) -> AsyncIterator[Plane]:
    async with plane_with(directory, database_url=url, poll_interval_s=0.05) as (running, api):
        topology = running.topology
        for number in (1, 2):
            add_cell(topology, f"cell-{number}")
        topology.rulesets.put("r", json.dumps({"name": "r", "rules": [RULE]}), actor="t")
        topology.rulesets.activate("r", 1, actor="t")
        topology.claims.claim([ClaimSpec("tenant", "t0", "cell-1", "s0")], actor="t")
        async with asking(running) as client:
            assert (await client.get("/t0")).headers["x-cellway-cell"] == "cell-1"
            yield running, api, client


@pytest.fixture
async def plane(server: Postgres, tmp_path: Path) -> AsyncIterator[Plane]:
    with server.database("hung") as url:
        async with deciding(tmp_path, url) as found:
            yield found


async def test_a_hung_database_costs_a_refusal_each_and_holds_nothing_up(
    plane: Plane, server: Postgres
) -> None:
    _, api, client = plane
    with server.paused():
        async with loop_is_free(LAG_S):
            started = time.monotonic()
            answers = await asyncio.gather(*(client.get(f"/t{n}") for n in range(20)))
            assert time.monotonic() - started < MOST_S
            assert (await api.get("/healthz")).status_code == 200
        assert {answer.status_code for answer in answers} == {503}
        reasons = {answer.headers["x-cellway-error"] for answer in answers}
        assert reasons == {Reason.NO_DATABASE.value}
    assert (await client.get("/t0")).headers["x-cellway-cell"] == "cell-1"


async def test_over_grpc_as_well(plane: Plane, server: Postgres) -> None:
    running, api, _ = plane
    check = external_auth_pb2.CheckRequest()
    check.attributes.request.http.path = "/t0"
    check.attributes.request.http.method = "GET"
    metadata = edge_metadata(running.topology)

    async def ask() -> str:
        answer = await stub.Check(check, metadata=metadata)
        found = {one.header.key: one.header.value for one in answer.ok_response.headers}
        cell: str = found["x-cellway-cell"]
        return cell

    async with grpc.aio.insecure_channel(f"127.0.0.1:{running.ports.grpc}") as channel:
        stub = external_auth_pb2_grpc.AuthorizationStub(channel)
        assert await ask() == "cell-1"
        with server.paused():
            async with loop_is_free(LAG_S):
                asked = [stub.Check(check, metadata=metadata) for _ in range(5)]
                results = await asyncio.gather(*asked, return_exceptions=True)
                assert (await api.get("/healthz")).status_code == 200
            for error in results:
                assert isinstance(error, grpc.aio.AioRpcError)
                assert error.code() is grpc.StatusCode.UNAVAILABLE
                assert error.details() == Reason.NO_DATABASE.value
        assert await ask() == "cell-1"
        subject = Subject(text="s0")
        running.topology.moves.move(subject, "cell-1", "cell-2", reason="r", actor="t")
        assert await ask() == "cell-2"


async def test_a_change_of_cells_that_can_not_be_read_is_refused_soon(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look-up has seen the change, then the database hangs."""
    running, _, client = plane
    hanging = asyncio.Event()
    loop = asyncio.get_running_loop()
    go_on = asyncio.Event()
    real = running.topology.snapshot

    def hung() -> object:
        loop.call_soon_threadsafe(hanging.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        return real()

    monkeypatch.setattr(running.topology, "snapshot", hung)
    add_cell(running.topology, "cell-3")
    async with loop_is_free(LAG_S):
        answers = await asyncio.gather(*(client.get("/t0") for _ in range(5)))
    assert hanging.is_set()
    assert {answer.status_code for answer in answers} == {503}
    go_on.set()
    assert (await client.get("/t0")).headers["x-cellway-cell"] == "cell-1"


async def test_the_publisher_raises_the_alarm_and_goes_on_where_it_was(
    plane: Plane,
    server: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    running, api, _ = plane
    monkeypatch.setattr(publisher, "SLOW_S", 0.3)

    async def ready() -> bool:
        return (await api.get("/readyz")).status_code == 200

    await until(ready)
    with server.paused():
        async with loop_is_free(LAG_S):
            await until(lambda: "revision is not known: the database has not" in caplog.text)
            assert (await api.get("/healthz")).status_code == 200
    add_cell(running.topology, "cell-3")
    revision = running.topology.revision()

    async def published() -> bool:
        found = await samples(api)
        return found["cellway_revision", ()] >= revision

    await until(published)
    await until(ready)


async def test_a_dead_database_is_one_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with postgres() as server:
        async with deciding(tmp_path, server.url()) as (_, _, client):
            server.kill()
            caplog.clear()
            answers = await asyncio.gather(*(client.get(f"/t{n}") for n in range(60)))
            assert {answer.status_code for answer in answers} == {503}
            assert_one_line(caplog)
            server.start()
            assert (await client.get("/t0")).headers["x-cellway-cell"] == "cell-1"


async def test_a_damaged_sqlite_database_is_one_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with deciding(tmp_path, f"sqlite:///{tmp_path}/p.db") as (_, _, client):
        with contextlib.closing(sqlite3.connect(tmp_path / "p.db")) as connection:
            connection.execute("ALTER TABLE claims RENAME TO lost")
            caplog.clear()
            answers = [await client.get("/t0") for _ in range(30)]
            assert {answer.status_code for answer in answers} == {503}
            assert_one_line(caplog)
            connection.execute("ALTER TABLE lost RENAME TO claims")
        assert (await client.get("/t0")).headers["x-cellway-cell"] == "cell-1"


def assert_one_line(caplog: pytest.LogCaptureFixture) -> None:
    said = [one for one in caplog.records if one.name.startswith("control_plane.classifier")]
    assert len(said) == 1
    assert said[0].exc_info is None
    assert "\n" not in said[0].getMessage()
