"""What the rest of the topology relies on, of each database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from control_plane.topology import Topology
from control_plane.topology.storage import sqlite
from control_plane.topology.storage.dialect import dialect_of
from control_plane.topology.storage.engines import dialect_for
from control_plane.topology.storage.postgresql import PostgresqlDialect, _numbered
from control_plane.topology.storage.sqlite import CACHE_KIB, CHECKPOINT_PAGES, SqliteDialect
from control_plane.topology.storage.statements import (
    Statement,
    clock,
    execute,
    insert_many,
    moment,
    stored,
)
from tests.topology.conftest import cell_spec


def test_engines_and_connections_know_their_dialect(topology: Topology, engine: str) -> None:
    kind = SqliteDialect if engine == "sqlite" else PostgresqlDialect
    writer = topology._store._write_engine
    assert dialect_of(writer) is dialect_of(topology.engine)
    with writer.connect() as connection:
        assert isinstance(dialect_of(connection), kind)
    assert topology.embedded is (engine == "sqlite")


def test_only_an_embedded_database_has_a_file(tmp_path: Path) -> None:
    assert dialect_for(f"sqlite:///{tmp_path}/x.db").file == tmp_path / "x.db"
    assert dialect_for("sqlite://").file is None
    assert dialect_for("postgresql://h/db").file is None


def test_a_time_is_stored_to_the_microsecond_and_read_as_utc(topology: Topology) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    with topology._store.read() as connection:
        sql = "SELECT CAST(? AS {})".format("text" if topology.embedded else "timestamptz")
        (result,) = execute(connection, [Statement(sql, (stored(connection, at),))])
    assert moment(result.rows[0][0]) == at


def test_the_clock_goes_on_within_a_transaction(topology: Topology) -> None:
    with topology._store.read() as connection:
        first = clock(connection)
        assert abs(first - datetime.now(UTC)) < timedelta(minutes=5)
        assert clock(connection) >= first


def test_a_bulk_insert_leaves_out_what_exists(two: Topology) -> None:
    columns = ("shard", "revision")
    rows = [(number, 7) for number in range(250)]
    with two._store._write_engine.connect() as connection, connection.begin():
        assert insert_many(connection, "epochs", columns, rows[:120]) == 120
        assert insert_many(connection, "epochs", columns, rows) == 130
        assert insert_many(connection, "epochs", columns, []) == 0


def test_a_write_holds_the_revision_against_other_writers(
    two: Topology, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_MS", 50)
    store = two._store
    with store._write_engine.connect() as connection, connection.begin():
        revision, at = dialect_of(connection).lock_revision(connection)
        assert revision == two.revision()
        assert at.tzinfo is UTC
        other = dialect_for(url)
        readers = other.open_readers()
        writer = other.open_writer(readers)
        with pytest.raises(Exception, match="lock"), writer.connect() as second, second.begin():
            if not two.embedded:
                second.execute(text("SET LOCAL lock_timeout = '50ms'"))
            other.lock_revision(second)
        writer.dispose()
        readers.dispose()


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_a_server_tells_of_each_commit(two: Topology) -> None:
    async def first_heard() -> str:
        async with asyncio.timeout(30):
            told = aiter(dialect_of(two.engine).notifications())
            heard: asyncio.Future[str] = asyncio.ensure_future(anext(told))
            number = 3
            while not heard.done():
                # Until somebody listens, nobody hears.
                await asyncio.to_thread(two.cells.create, cell_spec(number), actor="t")
                number += 1
                await asyncio.sleep(0.02)
            return heard.result()

    assert 3 <= int(asyncio.run(first_heard())) <= two.revision()


def test_an_embedded_database_tells_of_nothing() -> None:
    async def heard() -> list[str]:
        return [text async for text in dialect_for("sqlite://").notifications()]

    assert asyncio.run(heard()) == []


def test_parameters_are_numbered_for_libpq() -> None:
    assert _numbered("SELECT ? + ? WHERE a = ?") == b"SELECT $1 + $2 WHERE a = $3"
    assert _numbered("SELECT 1") == b"SELECT 1"


def test_an_import_into_sqlite_copies_few_pages_twice(tmp_path: Path) -> None:
    """With SQLite's own bounds most of an import's pages go to disk at each of its commits."""
    topology = Topology.open(f"sqlite:///{tmp_path}/cellway.db")
    with topology.engine.connect() as connection:
        cache = connection.exec_driver_sql("PRAGMA cache_size").scalar_one()
        log = connection.exec_driver_sql("PRAGMA wal_autocheckpoint").scalar_one()
    topology.close()
    assert (cache, log) == (-CACHE_KIB, CHECKPOINT_PAGES)
