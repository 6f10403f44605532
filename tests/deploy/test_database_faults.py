"""Faults of PostgreSQL and of what is stored there fire their alerts; the runbooks end them."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc
import httpx
import psycopg
import pytest

from control_plane.classifier.cache import redis
from tests.deploy.runbook import Runbook
from tests.deploy.watch import Watch, read
from tests.grpc_api.claims_messages import BEGIN, begin, metadata
from tests.grpc_api.wire_client import PACKAGE
from tests.support.conditions import wait_until
from tests.support.ports import unused_port
from tests.support.postgres import Postgres, postgres
from tests.support.redis_server import RedisServer, redis_server
from tests.support.system import System

HELD_S = 0.3
CELL = {"address": "dead.example.com", "state": "active", "health_check_path": "/ok"}


@dataclass
class Stored:
    """A system on PostgreSQL, and its operator."""

    system: System
    database: Postgres
    redis: RedisServer

    def sql(self, *statements: str) -> None:
        """Run statements on the server, each by itself."""
        with psycopg.connect(self.database.url(), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    @contextlib.contextmanager
    def forgotten(self, table: str) -> Iterator[None]:
        """Hold a table until somebody ends the session."""
        with contextlib.suppress(psycopg.OperationalError), self.locked(table):
            yield

    @contextlib.contextmanager
    def locked(self, table: str) -> Iterator[None]:
        """Hold a table, as a forgotten session of an operator does."""
        with psycopg.connect(self.database.url()) as connection:
            connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
            yield

    def locked_briefly(self, table: str, work: Callable[[], object]) -> None:
        """Do something that needs a table while it is held, for `HELD_S`."""
        with ThreadPoolExecutor(1) as pool, self.locked(table):
            waiting = pool.submit(work)
            wait_until(self.somebody_waits)
            time.sleep(HELD_S)  # this is the fault
        waiting.result()

    def somebody_waits(self) -> bool:
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        with psycopg.connect(self.database.url()) as connection:
            return connection.execute(query).fetchone() != (0,)

    def runbook(self, page: str) -> Runbook:
        return Runbook(
            page, str(self.system.api.base_url), CELLWAY_DATABASE_URL=self.database.url()
        )

    def ask(self, name: str) -> None:
        """Have the edge ask for a name that nobody owns."""
        url = f"http://127.0.0.1:{self.system.edge_port}/{name}/x"
        httpx.get(url, trust_env=False, timeout=20)

    def scraped(self) -> str:
        """Return what Prometheus has of a scrape: nothing, if it fails."""
        answer = self.system.api.get("/metrics", timeout=10)
        return answer.text if answer.status_code == 200 else ""


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    directory = tmp_path_factory.mktemp("stored")
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(postgres())
        redis = stack.enter_context(redis_server())
        settings = {"database_url": database.url(), "redis_url": redis.url}
        # With the table of owners, classifiers would not ask the database.
        system = System(directory, cells=2, health_interval_s=0.2, edge_module="off", **settings)
        stack.enter_context(system)
        for name, port in system.cell_ports.items():
            system.add_cell(name, port, health_check_path="/ok")
        system.use_ruleset("gitlab")
        yield Stored(system, database, redis)


@pytest.fixture
def watch(stored: Stored) -> Watch:
    """A watch over a system that is well, in which no alert fires."""
    one = Watch(stored.scraped)
    wait_until(one.is_calm)
    one.scrape()
    return one


def test_a_database_that_is_dead(stored: Stored, watch: Watch) -> None:
    stored.database.kill()
    alerts = {
        "CellwayDatabaseNotReadable",
        "CellwayDatabaseNotWritable",
        "CellwayPublicationRefused",
    }
    for alert in alerts:
        fires = watch.sees(alert)
    assert fires == alerts
    page = stored.runbook("database-not-writable")
    assert "the database is unavailable" in page.follow("curl -s localhost:8000/readyz")
    stored.database.start()
    for alert in alerts:
        watch.ends(alert)


def test_a_standby(stored: Stored, watch: Watch) -> None:
    setting = "default_transaction_read_only"
    stored.sql(f"ALTER SYSTEM SET {setting} = on", "SELECT pg_reload_conf()")
    assert watch.sees("CellwayDatabaseNotWritable") == {"CellwayDatabaseNotWritable"}
    page = stored.runbook("database-not-writable")
    assert "takes no writes" in page.follow("curl -s localhost:8000/readyz")
    assert "ALARM" in page.follow("cellway fleet status")
    stored.sql(f"SET {setting} = off", f"ALTER SYSTEM RESET {setting}", "SELECT pg_reload_conf()")
    watch.ends("CellwayDatabaseNotWritable")


def test_a_table_that_a_forgotten_session_holds(stored: Stored, watch: Watch) -> None:
    numbers = itertools.count()

    def wait_at_times() -> None:
        if next(numbers) % 5 == 0:
            stored.locked_briefly("cells", stored.scraped)

    assert "CellwayDatabaseSlow" in watch.sees("CellwayDatabaseSlow", wait_at_times)
    page = stored.runbook("database-slow")
    with stored.forgotten("cells"), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(stored.scraped)
        wait_until(stored.somebody_waits)
        holder = page.follow('psql "$CELLWAY_DATABASE_URL" -Atc').split("|")[0]
        page.follow('psql "$CELLWAY_DATABASE_URL" -c "SELECT pg_terminate', PID=holder)
        assert "cellway_database_readable 1.0" in waiting.result()
    watch.ends("CellwayDatabaseSlow")


def slow_statements(text: str, query: str) -> float:
    """Return how many statements of a kind have taken longer than 0.05 s, by a scrape."""
    seconds = {
        dict(labels).get("le", ""): value
        for (name, labels), value in read(text).items()
        if name == "cellway_db_seconds_bucket" and ("query", query) in labels
    }
    return seconds["+Inf"] - seconds["0.05"]


def test_writes_commits_and_statements_that_fail_are_timed(stored: Stored) -> None:
    stored.system.write("PATCH", "/v1/cells/cell-1", {"weight": 7}, **{"if-match": "*"})
    before = stored.scraped()
    for query in ("update cells", "commit"):
        assert f'cellway_db_seconds_count{{query="{query}"}}' in before
    stored.sql("ALTER SYSTEM SET statement_timeout = '100ms'", "SELECT pg_reload_conf()")
    with stored.locked("cells"):
        failed = stored.scraped()
    stored.sql("ALTER SYSTEM RESET statement_timeout", "SELECT pg_reload_conf()")
    assert "cellway_database_readable 0.0" in failed
    assert slow_statements(failed, "select cells") > slow_statements(before, "select cells")
    wait_until(lambda: "cellway_database_readable 1.0" in stored.scraped())


def test_look_ups_that_wait_for_the_database(stored: Stored, watch: Watch) -> None:
    numbers = itertools.count()

    def ask_slowly() -> None:
        number = next(numbers)
        if number % 5 == 0:
            stored.locked_briefly("claims", lambda: stored.ask(f"slow-{number}"))

    stored.ask("quick")  # so that there is a count to grow from
    watch.scrape()
    assert "CellwayClassifierSlow" in watch.sees("CellwayClassifierSlow", ask_slowly)
    page = stored.runbook("classifier-slow")
    page.follow("cellway audit --kind ruleset")
    page.follow("cellway explain URL", URL="https://gitlab.example.com/slow-1/x")
    watch.ends("CellwayClassifierSlow")


def test_a_database_that_refuses_a_statement(stored: Stored, watch: Watch) -> None:
    stored.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'a trigger is in the way'; END $$",
        "CREATE TRIGGER refusing BEFORE UPDATE OF healthy ON cells"
        " FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    stored.system.add_cell("dead", unused_port(), health_check_path="/ok")
    assert "CellwayBackgroundTaskFails" in watch.sees("CellwayBackgroundTaskFails")
    page = stored.runbook("background-task-fails")
    assert "a trigger is in the way" in page.follow("curl -s localhost:8000/readyz")
    assert "cell health" in page.follow("curl -s localhost:8000/metrics")
    page.follow("cellway audit --limit 20")
    stored.sql("DROP TRIGGER refusing ON cells")
    watch.ends("CellwayBackgroundTaskFails")
    for state in ("draining", "drained", "retired"):
        path = "/v1/cells/dead?force=true&reason=test"
        stored.system.write("PATCH", path, {"state": state}, **{"if-match": "*"})


def test_cells_that_were_retired_by_mistake(stored: Stored, watch: Watch) -> None:
    for cell in stored.system.cell_ports:
        for state in ("draining", "drained", "retired"):
            path = f"/v1/cells/{cell}?force=true&reason=test"
            stored.system.write("PATCH", path, {"state": state}, **{"if-match": "*"})
    assert "CellwayPublicationRefused" in watch.sees("CellwayPublicationRefused")
    page = stored.runbook("publication-refused")
    assert "would go" in page.follow("cellway fleet status")
    page.follow("cellway audit --limit 20")
    assert "retired" in page.follow("cellway cells list")
    for cell, port in stored.system.cell_ports.items():
        page.follow("cellway cells remove", yes=True, NAME=cell)
        words = {"ADDRESS": f"{cell}.example.com", "ENDPOINT": f"127.0.0.1:{port}"}
        page.follow("cellway cells add", NAME=cell, **words)
    watch.ends("CellwayPublicationRefused")


def test_a_database_that_went_back_in_time(stored: Stored, watch: Watch) -> None:
    newest = stored.system.plane.topology.revision()
    wait_until(lambda: stored.system.plane.xds.cache.newest.revision == newest)
    stored.sql("UPDATE revisions SET revision = revision - 1, edge_revision = edge_revision - 1")
    assert "CellwayPublicationRefused" in watch.sees("CellwayPublicationRefused")
    page = stored.runbook("publication-refused")
    assert f"is older than {newest}" in page.follow("cellway fleet status")
    page.follow("cellway db advance", yes=True, M=str(newest))
    watch.ends("CellwayPublicationRefused")


def test_a_lease_that_its_cell_forgot(stored: Stored, watch: Watch) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{stored.system.plane.ports.grpc}") as channel:
        call = channel.unary_unary(f"/{PACKAGE}.{BEGIN}")
        cell = stored.system.api.get("/v1/cells/cell-1").json()["id"]
        call(begin([metadata(1, "forgotten")], cell=cell), timeout=20)
    stored.sql("UPDATE leases SET created_at = created_at - interval '61 minutes'")
    assert watch.sees("CellwayLeasesOutstanding") == {"CellwayLeasesOutstanding"}
    page = stored.runbook("leases-outstanding")
    assert "cell-1" in page.follow("cellway claims leases --older-than 1h")
    page.follow("cellway cells list")
    page.follow("cellway claims settle rollback", yes=True, C="cell-1")
    watch.ends("CellwayLeasesOutstanding")


def test_ids_that_run_out(stored: Stored, watch: Watch) -> None:
    page = stored.runbook("sequence-runs-out")
    stored.system.write("POST", "/v1/cells/cell-1/sequences", {"size": 100})
    (used,) = stored.system.api.get("/v1/cells/cell-1/sequences").json()["ranges"]
    report = {"last": used["minval"] + 95}
    stored.system.write("POST", "/v1/cells/cell-1/sequences/report", report)
    assert watch.sees("CellwaySequenceRunsOut") == {"CellwaySequenceRunsOut"}
    assert "ALLOT MORE" in page.follow("cellway cells sequences list")
    page.follow("cellway cells sequences show", C="cell-1")
    page.follow("cellway cells sequences allot", C="cell-1")
    watch.ends("CellwaySequenceRunsOut")


def test_a_stranger_at_the_classifier(stored: Stored, watch: Watch) -> None:
    port = stored.system.plane.ports.classifier
    for _ in range(2):
        assert httpx.get(f"http://127.0.0.1:{port}/x", trust_env=False).status_code == 403
    assert watch.sees("CellwayClassifierStrangers") == {"CellwayClassifierStrangers"}
    page = stored.runbook("classifier-strangers")
    for command in ("cellway fleet status", "cellway edge-secret show", "cellway audit"):
        page.follow(command)
    watch.ends("CellwayClassifierStrangers")


def test_a_redis_that_is_dead(
    stored: Stored, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The scrapes come so much faster than in truth.
    monkeypatch.setattr(redis, "PAUSE_S", 0.0)
    stored.redis.kill()
    numbers = itertools.count()

    def ask() -> None:
        stored.ask(f"without-redis-{next(numbers)}")

    assert watch.sees("CellwayRedisFails", ask) == {"CellwayRedisFails"}
    page = stored.runbook("redis-fails")
    assert "cellway_cache_errors_total" in page.follow("curl -s localhost:8000/metrics")
    stored.redis.start()
    watch.ends("CellwayRedisFails")
