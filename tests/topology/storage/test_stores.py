"""What each database must do for us: migrate, retry, notify; and what URLs are accepted."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from itertools import count

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from control_plane.topology import Topology
from control_plane.topology.lookup import interface as lookups
from control_plane.topology.lookup.interface import ClaimLookup
from control_plane.topology.storage.engines import _alembic, parse_url
from control_plane.topology.storage.postgresql import CHANNEL, TRIES
from control_plane.topology.storage.store import Store, migrate, pending_migrations
from control_plane.topology.storage.transaction import Transaction
from control_plane.topology.values.cell import CellState
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.errors import Contention, Invalid
from tests.topology.conftest import cell_spec

GENEROUS_S = 20.0


def wait_for_change(lookup: ClaimLookup) -> None:
    deadline = time.monotonic() + GENEROUS_S
    while not lookup.changed():
        assert time.monotonic() < deadline
        time.sleep(0.01)


on_postgresql = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgresql://u:p@h:5432/db?sslmode=require", "postgresql+psycopg"),
        ("postgres://h/db", "postgresql+psycopg"),
        ("postgresql+psycopg://h/db", "postgresql+psycopg"),
        ("sqlite:///x.db", "sqlite"),
    ],
)
def test_urls_as_operators_write_them(url: str, driver: str) -> None:
    assert parse_url(url).drivername == driver


@on_postgresql
def test_every_connection_notices_a_machine_that_is_gone(url: str) -> None:
    given = f"{url}{'&' if '?' in url else '?'}keepalives_idle=7"
    with contextlib.closing(Store(given)) as store:
        for engine in (store.engine, store._write_engine):
            with engine.connect() as connection:
                driver = connection.connection.driver_connection
                assert driver is not None
                told = driver.info.get_parameters()
                assert told["keepalives_idle"] == "7", "the URL's own word counts"
                assert told["tcp_user_timeout"] == "25000"
        arguments, options = store.engine.dialect.create_connect_args(store.engine.url)
        assert not arguments
        assert options["keepalives_count"] == "3", "look-ups and wake-ups connect with these"


@pytest.mark.parametrize("url", ["mysql://h/db", "postgresql+asyncpg://h/db", "no url", ""])
def test_other_databases_are_refused_clearly(url: str) -> None:
    with pytest.raises(Invalid, match="sqlite:///FILE or postgresql://"):
        parse_url(url)


def _config(store: Store) -> Config:
    config = _alembic(str(store.engine.url))
    config.attributes["engine"] = store.engine
    return config


def test_claims_of_the_first_schema_come_along(empty_url: str) -> None:
    store = Store(empty_url)
    command.upgrade(_config(store), "0001")
    with store.engine.connect() as connection, connection.begin():
        connection.execute(
            text(
                "INSERT INTO cells (id, name, address, state, weight, healthy, version, details)"
                " VALUES (1, 'cell-1', 'c.example', 'active', 100, :yes, 1, :details)"
            ),
            {
                "yes": True,
                "details": '{"endpoints": [["10.0.0.1", 1]], "tls": null, "labels": {},'
                ' "health_check_path": null, "sequence_ranges": [[1, 100], [201, 300]]}',
            },
        )
        for name in ("a", "b"):
            connection.execute(
                text(
                    "INSERT INTO claims (bucket, value, cell_id, revision, created_at)"
                    " VALUES ('route', :name, 1, 1, '2026-01-01 00:00:00')"
                ),
                {"name": name},
            )
    store.close()
    topology = Topology.open(empty_url)
    made = [topology.records.get("route", name) for name in ("a", "b")]
    assert {one.status for one in made} == {"active"}
    assert len({one.uuid for one in made}) == 2
    assert all(len(one.uuid) == 36 and one.created_at == one.updated_at for one in made)
    assert topology.sequences.high_water_mark().mark == 300
    assert [(one.cell, one.allotted) for one in topology.sequences.uses()] == [("cell-1", 200)]
    topology.claims.release([("route", "a")], actor="m")
    topology.close()


def test_migrations_can_be_taken_back(empty_url: str) -> None:
    store = Store(empty_url)
    migrate(store.engine)
    command.downgrade(_config(store), "base")
    assert pending_migrations(store.engine) == (
        "0001",
        "0002",
        "0003",
        "0010",
        "0015",
        "0020",
        "0021",
        "0022",
        "0023",
        "0024",
    )
    migrate(store.engine)
    store.close()


@on_postgresql
def test_of_several_that_start_at_once_one_migrates(empty_url: str) -> None:
    program = "import sys\nfrom control_plane.topology import Topology\n"
    program += "Topology.open(sys.argv[1]).close()"
    processes = [subprocess.Popen([sys.executable, "-c", program, empty_url]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]


@on_postgresql
@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_a_write_that_others_made_fail_is_tried_again(two: Topology, code: str) -> None:
    tries = count(1)

    def work(tx: Transaction) -> int:
        number = next(tries)
        tx.log("test", "try", str(number), None, None)
        if number < 3:
            tx.connection.execute(
                text(f"DO $$ BEGIN RAISE EXCEPTION 'in the way' USING ERRCODE = '{code}'; END $$")
            )
        return number

    number, tx = two._store.write("m", work)
    assert (number, tx.revision) == (3, 3)
    assert [change.key for change in two.changes.since(2)] == ["3"]


@on_postgresql
def test_tries_are_bounded(two: Topology) -> None:
    tries = count()

    def work(tx: Transaction) -> None:
        next(tries)
        tx.connection.execute(text("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$"))

    with pytest.raises(Contention):
        two._store.write("m", work)
    assert next(tries) == TRIES
    two.claims.claim([ClaimSpec("route", "a", "cell-1")], actor="m")
    assert two.revision() == 3


@on_postgresql
def test_a_broken_connection_is_replaced(two: Topology, url: str) -> None:
    two.claims.owners_of([("route", "a")])
    lookup = two.claim_lookup()
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(2):
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            revision = two.claims.claim(
                [ClaimSpec("route", f"a{two.revision()}", "cell-1")], actor="m"
            )
            assert two.revision() == revision.revision
            wait_for_change(lookup)
            assert lookup.owners([("route", f"a{revision.revision - 1}")]) == [1]
    lookup.close()
    connection.close()


@on_postgresql
def test_a_commit_elsewhere_is_notified_with_its_revision_only(two: Topology, url: str) -> None:
    other = Topology.open(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"LISTEN {CHANNEL}")
        written = other.claims.claim([ClaimSpec("route", "a", "cell-1")], actor="m")
        other.claims.claim([ClaimSpec("route", "b", "cell-1")], actor="m", dry_run=True)
        other.cells.set_state("cell-1", CellState.CORDONED, actor="m")
        got = [one.payload for one in connection.notifies(timeout=GENEROUS_S, stop_after=2)]
    connection.close()
    assert got == [str(written.revision), str(written.revision + 1)]
    other.close()


@on_postgresql
@pytest.mark.parametrize("lost", [False, True])
def test_a_commit_elsewhere_is_seen_with_or_without_its_notification(
    two: Topology, url: str, lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Topology.open(url)
    lookup = two.claim_lookup()
    assert isinstance(lookup, lookups.PostgresLookup)
    if lost:
        lookup._connection.execute("UNLISTEN *")
    else:
        monkeypatch.setattr(lookups, "POLL_S", 3600.0)
    assert lookup.changed() is False
    other.claims.claim([ClaimSpec("route", "a", "cell-1")], actor="m")
    wait_for_change(lookup)
    assert lookup.changed() is False
    assert lookup.owners([("route", "A"), ("route", "b"), ("route", "")]) == [1, None, None]
    edge = lookup.edge_revision()
    other.cells.set_state("cell-1", CellState.CORDONED, actor="m")
    assert lookup.edge_revision() == edge + 2
    lookup.close()
    other.close()


@on_postgresql
def test_a_reader_sees_one_moment(two: Topology) -> None:
    with two._store.read() as connection:
        first = connection.execute(text("SELECT revision FROM revisions")).scalar()
        two.cells.create(cell_spec(3), actor="m")
        assert connection.execute(text("SELECT revision FROM revisions")).scalar() == first
        assert connection.execute(text("SELECT count(*) FROM cells")).scalar() == 2
