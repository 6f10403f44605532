"""Statements sent to PostgreSQL all at once, on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg.pq import PipelineStatus, TransactionStatus
from sqlalchemy import text

from control_plane.topology import Topology
from control_plane.topology.storage import libpq_pipeline
from control_plane.topology.storage.driver_errors import translate
from control_plane.topology.storage.libpq_pipeline import Prepared, run
from control_plane.topology.values.cell import CellSpec, CellState
from control_plane.topology.values.claim import ClaimSpec, RecordSpec
from control_plane.topology.values.endpoint import Endpoint
from control_plane.topology.values.errors import AlreadyExists, Unavailable
from tests.support.postgres import Postgres

Connection = psycopg.Connection[Any]


@pytest.fixture
def raw(server: Postgres) -> Iterator[Connection]:
    connection = psycopg.connect(server.url())
    yield connection
    connection.close()


def test_each_statement_gives_its_count_and_rows(raw: Connection) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    found = run(
        raw,
        Prepared(),
        [
            (b"CREATE TEMPORARY TABLE t (n bigint, b bytea, s text, at timestamptz)", ()),
            (b"INSERT INTO t VALUES ($1, $2, $3, $4), (2, NULL, NULL, NULL)", (1, b"\0", "x", at)),
            (b"UPDATE t SET n = n + 1 WHERE n = $1", (7,)),
            (b"SELECT * FROM t ORDER BY n", ()),
            (b"SELECT 1 WHERE false", ()),
        ],
    )
    rows = [(1, b"\0", "x", at), (2, None, None, None)]
    assert found == [(-1, []), (2, []), (0, []), (2, rows), (0, [])]


def test_a_transaction_is_begun_where_there_is_none(raw: Connection) -> None:
    raw.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    shown = (b"SHOW transaction_isolation", ())
    assert run(raw, Prepared(), [shown]) == [(-1, [("repeatable read",)])]
    assert raw.info.transaction_status == TransactionStatus.INTRANS
    run(raw, Prepared(), [(b"CREATE TABLE gone (n int)", ())])
    raw.rollback()
    with pytest.raises(psycopg.errors.UndefinedTable):
        run(raw, Prepared(), [(b"SELECT * FROM gone", ())])


def test_the_first_failure_is_told_and_what_follows_it_is_not_run(raw: Connection) -> None:
    run(raw, Prepared(), [(b"CREATE TEMPORARY TABLE t (n bigint)", ()), (b"SAVEPOINT s", ())])
    wrong = (b"SELECT 1 / $1", (0,))
    with pytest.raises(psycopg.errors.DivisionByZero) as caught:
        run(
            raw,
            Prepared(),
            [(b"INSERT INTO t VALUES (1)", ()), wrong, (b"INSERT INTO t VALUES ('x')", ())],
        )
    assert caught.value.sqlstate == "22012"
    assert raw.pgconn.pipeline_status == PipelineStatus.OFF
    assert raw.info.transaction_status == TransactionStatus.INERROR
    after = [(b"ROLLBACK TO SAVEPOINT s", ()), (b"SELECT count(*) FROM t", ())]
    assert run(raw, Prepared(), after)[1] == (1, [(0,)])


def test_what_comes_often_is_prepared_and_no_more_than_so_much(
    raw: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libpq_pipeline, "MAX_PREPARED", 2)
    prepared = Prepared()

    def names() -> set[str]:
        return {name for (name,) in raw.execute("SELECT statement FROM pg_prepared_statements")}

    often = [(b"SELECT $1::bigint + 1", (1,))] * (libpq_pipeline.PREPARED_FROM + 3)
    assert run(raw, prepared, often) == [(1, [(2,)])] * len(often)
    assert names() == {"SELECT $1::bigint + 1"}
    # Another type of the parameter is another statement.
    same = [(b"SELECT $1::bigint + 1", ("1",))] * (libpq_pipeline.PREPARED_FROM + 1)
    assert run(raw, prepared, same) == [(1, [(2,)])] * len(same)
    assert len(raw.execute("SELECT FROM pg_prepared_statements").fetchall()) == 2
    # A failure leaves them as they are.
    run(raw, prepared, [(b"SAVEPOINT s", ())])
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        run(raw, prepared, [(b"SELECT $1::bigint + 1", ("x",))])
    run(raw, prepared, [(b"ROLLBACK TO SAVEPOINT s", ())])
    for number in range(4):
        sql = b"SELECT %d" % number
        run(raw, prepared, [(sql, ())] * (libpq_pipeline.PREPARED_FROM + 1))
        assert run(raw, prepared, often[:1]) == [(1, [(2,)])]
    # The one that is in use all the time has stayed.
    assert names() == {"SELECT $1::bigint + 1", "SELECT 3"}


def test_more_than_the_sockets_buffers_hold_goes_both_ways(raw: Connection) -> None:
    big = "x" * 1_000_000
    assert run(raw, Prepared(), [(b"SELECT $1::text", (big,))] * 20) == [(1, [(big,)])] * 20


def test_a_lost_connection_is_told_as_lost(raw: Connection, server: Postgres) -> None:
    prepared = Prepared()
    run(raw, prepared, [(b"SELECT 1", ())])
    with psycopg.connect(server.url(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (raw.info.backend_pid,))
    with pytest.raises(psycopg.Error) as caught:
        run(raw, prepared, [(b"SELECT 1", ())] * 3)
    assert isinstance(translate(caught.value), Unavailable)
    assert raw.closed


def test_where_prepared_statements_are_gone_the_connection_is_made_anew(raw: Connection) -> None:
    prepared = Prepared()
    run(raw, prepared, [(b"SELECT 1", ())] * (libpq_pipeline.PREPARED_FROM + 1))
    raw.execute("DEALLOCATE ALL")
    with pytest.raises(psycopg.OperationalError) as caught:
        run(raw, prepared, [(b"SELECT 1", ())])
    assert isinstance(translate(caught.value), Unavailable)
    assert raw.closed


def test_what_is_in_doubt_is_closed_and_prepared_anew(raw: Connection) -> None:
    prepared = Prepared()
    often = [(b"SELECT $1::bigint + 1", (1,))] * (libpq_pipeline.PREPARED_FROM + 1)
    for gone in (False, True):
        run(raw, prepared, often)
        raw.commit()
        prepared.doubt()
        if gone:
            raw.execute("DEALLOCATE ALL")
        assert run(raw, prepared, often) == [(1, [(2,)])] * len(often)
        assert len(raw.execute("SELECT FROM pg_prepared_statements").fetchall()) == 1


def test_nothing_is_prepared_without_a_place_to_note_it(raw: Connection) -> None:
    run(raw, None, [(b"SELECT $1::bigint + 1", (1,))] * (libpq_pipeline.PREPARED_FROM + 3))
    assert raw.execute("SELECT FROM pg_prepared_statements").fetchall() == []


def test_a_rollback_costs_no_connection(server: Postgres) -> None:
    """psycopg has the server forget every prepared statement then, if it has one of its own."""
    with server.database("rolled_back") as url:
        topology = Topology.open(url)
        spec = CellSpec("c", "c.example", (Endpoint("10.0.0.1", 1),), state=CellState.ACTIVE)
        topology.cells.create(spec, actor="t")

        def begin(name: str) -> None:
            topology.leases.begin(1, [RecordSpec("route", name)], [], actor="t")

        def backend() -> int:
            with topology._store._write_engine.connect() as connection:
                return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())

        before = backend()
        for number in range(3 * libpq_pipeline.PREPARED_FROM):
            begin(f"r{number}")
            topology.cells.set_health("c", healthy=bool(number % 2), actor="t")
            topology.claims.claim([ClaimSpec("route", f"s{number}", "c")], actor="t")
            if number % 7 == 0:
                with pytest.raises(AlreadyExists):
                    begin("r0")
        assert backend() == before
        topology.close()
