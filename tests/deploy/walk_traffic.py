"""``make soak``, part of it: what goes wrong with requests fires its alerts."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import time
from collections.abc import Iterator

import httpx
import psycopg
import pytest

from control_plane.names import EDGE_SECRET_HEADER
from tests.deploy.runbook import Runbook
from tests.deploy.watch import Watch
from tests.e2e.tenant_cells import TenantCells
from tests.support.child_process import frozen
from tests.support.conditions import wait_until
from tests.support.postgres import Postgres, postgres
from tests.support.system import System

STRANGERS = 600
QUESTIONS = 1800
"""More than may wait for PostgreSQL (1024), with those that are on their way (512)."""
AT_ONCE = 100
REPORT_S = 1.1
"""How often, at most, an edge reports what its cache has counted."""


class Traffic:
    """A system whose cells know their tenants, and who asks."""

    def __init__(self, system: System, cells: TenantCells, database: Postgres) -> None:
        self.system, self.cells, self.database = system, cells, database
        self._numbers = itertools.count()
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{system.edge_port}", trust_env=False, timeout=20
        )

    def close(self) -> None:
        self._client.close()

    def ask(self, tenant: str) -> httpx.Response:
        return self._client.get(f"/t/{tenant}/x")

    def ask_for_nobody(self) -> httpx.Response:
        """Ask for a name that has never been asked for."""
        return self.ask(f"nobody-{next(self._numbers)}")

    def watch(self) -> Watch:
        one = Watch(lambda: self.system.api.get("/metrics").text)
        wait_until(one.is_calm)
        one.scrape()
        return one

    def runbook(self, page: str) -> Runbook:
        return Runbook(page, str(self.system.api.base_url))


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traffic]:
    directory = tmp_path_factory.mktemp("traffic")
    settings = {"classifier_workers": 1, "classifier_timeout_s": 0.5, "classifier_restart_s": 0.3}
    with contextlib.ExitStack() as stack:
        cells = stack.enter_context(TenantCells("cell-1", "cell-2"))
        database = stack.enter_context(postgres())
        # One worker of Envoy has one cache, whatever connection a request comes over.
        system = System(directory, cells=0, concurrency=1, database_url=database.url(), **settings)
        stack.enter_context(system)
        for name, port in cells.ports.items():
            system.add_cell(name, port)
        system.use_ruleset("generic")
        system.claim("cell-1", "tenant:acme")
        cells.owners["acme"] = "cell-1"
        system.in_step()
        traffic = Traffic(system, cells, database)
        stack.callback(traffic.close)
        wait_until(lambda: traffic.ask("acme").status_code == 200)
        yield traffic


def test_a_cell_that_does_not_know_its_tenant(traffic: Traffic) -> None:
    watch = traffic.watch()
    traffic.cells.owners["acme"] = "cell-2"

    numbers = itertools.count()

    def refuse_at_times() -> None:
        if next(numbers) % 3 == 0:
            assert traffic.ask("acme").status_code == 503
            time.sleep(REPORT_S)  # the edge counts, and reports once a second
            traffic.ask_for_nobody()

    fires = watch.sees("CellwayMisdirected", refuse_at_times)
    assert "CellwayMisdirected" in fires
    page = traffic.runbook("misdirected")
    assert "cell-1" in page.follow("cellway explain URL", URL="https://x.example/t/acme/x")
    assert "cell-1" in page.follow("cellway claims get", **{"BUCKET:VALUE": "tenant:acme"})
    page.follow("cellway audit BUCKET:VALUE", **{"BUCKET:VALUE": "tenant:acme"})
    page.follow("cellway fleet status")
    traffic.cells.owners["acme"] = "cell-1"
    assert traffic.ask("acme").status_code == 200
    watch.ends("CellwayMisdirected")


def test_answers_whose_time_is_over(traffic: Traffic) -> None:
    watch = traffic.watch()
    assert traffic.ask("gone").status_code == 404
    (worker,) = traffic.system.plane.workers
    with frozen(worker.pid):
        time.sleep(2)  # an answer about an unknown name serves for a second
        assert traffic.ask("gone").status_code == 404
    time.sleep(REPORT_S)
    wait_until(lambda: traffic.ask_for_nobody().status_code == 404)
    assert "CellwayServedStale" in watch.sees("CellwayServedStale", traffic.ask_for_nobody)
    page = traffic.runbook("classifier-down")
    page.follow("curl -s --unix-socket ADMIN", ADMIN=traffic.system.admin.socket)
    watch.ends("CellwayServedStale")


async def flood(port: int, secret: str) -> None:
    """Ask the classifier so much at once that not all can wait for the database."""
    head = f"host: x\r\n{EDGE_SECRET_HEADER}: {secret}\r\n\r\n"

    async def begin(number: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /t/flood-{number}/x HTTP/1.1\r\n{head}".encode())
        return reader, writer

    opened = []
    # A connection is a stranger's until its first question is read, and there are few of those.
    for first in range(0, QUESTIONS, AT_ONCE):
        batch = range(first, first + AT_ONCE)
        opened += await asyncio.gather(*(begin(number) for number in batch))
    await asyncio.gather(*(reader.readline() for reader, _ in opened))
    for _, writer in opened:
        writer.close()
        await writer.wait_closed()


def test_more_questions_than_the_database_takes(traffic: Traffic) -> None:
    watch = traffic.watch()
    system = traffic.system
    secret = system.plane.topology.edge_secrets.read().current
    with psycopg.connect(system.plane.settings.database_url) as connection:
        connection.execute("LOCK TABLE claims IN ACCESS EXCLUSIVE MODE")
        asyncio.run(flood(system.plane.ports.classifier, secret))
    assert "CellwayClassifierRefuses" in watch.sees("CellwayClassifierRefuses")
    page = traffic.runbook("database-slow")
    page.follow("curl -s localhost:8000/metrics | grep cellway_claims")
    watch.ends("CellwayClassifierRefuses")


def test_strangers_that_hold_connections(traffic: Traffic) -> None:
    watch = traffic.watch()
    port = traffic.system.plane.ports.classifier
    with contextlib.ExitStack() as stack:
        for _ in range(STRANGERS):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert "CellwayClassifierCrowded" in watch.sees("CellwayClassifierCrowded")
        page = traffic.runbook("classifier-crowded")
        assert "127.0.0.1" in page.follow("ss -tn", PORT=str(port))
        kinds = page.follow("curl -s localhost:8000/metrics")
        assert 'kind="stranger"' in kinds
        assert traffic.ask_for_nobody().status_code == 404
    watch.ends("CellwayClassifierCrowded")


def test_a_database_that_hangs(traffic: Traffic) -> None:
    watch = traffic.watch()
    page = traffic.runbook("database-not-writable")
    with traffic.database.paused():
        for alert in ("CellwayDatabaseNotReadable", "CellwayPublicationRefused"):
            assert alert in watch.sees(alert)
        assert "is unavailable" in page.follow("curl -s localhost:8000/readyz")
    watch.ends("CellwayDatabaseNotReadable")
    watch.ends("CellwayPublicationRefused")
