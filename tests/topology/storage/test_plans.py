"""Each hot statement is answered from its index, on both engines and with a generic plan."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event, text

from control_plane.topology import Topology
from control_plane.topology.changes import first_after
from control_plane.topology.claims import lease_statements
from control_plane.topology.lookup.sql import owner_sql
from control_plane.topology.storage.postgresql import _numbered
from control_plane.topology.storage.store import Store
from control_plane.topology.values.claim import RecordSpec
from tests.topology.conftest import cell_spec

CLAIMS = 20_000
LEASES = 5_000
_KEYS = [("route", "r1"), ("route", "r2"), ("username", "u1")]
FIXED = {
    "activate": (lease_statements.activate_claims("x", "creating"), "ix_claims_lease"),
    "remove": (lease_statements.remove_claims("x", "destroying"), "ix_claims_lease"),
    "replace": (lease_statements.apply_replacements("x"), "ix_claims_lease"),
    "replacements": (lease_statements.forget_replacements("x"), "pk_replacements"),
    "settle": (lease_statements.settle_lease("x", 1, "committed"), "pk_leases|ix_leases_open"),
    "destroy": (
        lease_statements.lock_claims("x", 1, _KEYS)[0],
        "pk_claims|ix_claims_cell_id_bucket_value",
    ),
}
READS: dict[str, tuple[Callable[[Topology], object], str]] = {
    "record": (lambda t: t.records.get("route", "r8"), "pk_claims"),
    "records": (
        lambda t: t.records.page(1, source_type=3, after=b"\x00", upto=b"\x01", limit=10),
        "ix_claims_source",
    ),
    "leases": (lambda t: t.open_leases.page(1, limit=10), "ix_leases_open"),
    "new leases": (
        lambda t: t.open_leases.page(1, limit=10, created_after=datetime(2100, 1, 1, tzinfo=UTC)),
        "ix_leases_open",
    ),
    "oldest leases": (
        lambda t: t.open_leases.oldest("cell-1", limit=10),
        "ix_leases_open|ix_claims_lease",
    ),
    "lease backlog": (lambda t: t.open_leases.backlog(), "ix_leases_open"),
    "a page of an export": (lambda t: list(t.bulk.export(("route", "r8"), 10)), "pk_claims"),
    "audit of a claim": (lambda t: t.claims.audit("route", "r8"), "ix_changes_key"),
    "audit of everything": (lambda t: t.changes.newest(limit=10), "pk_changes"),
    "what a claim was": (lambda t: _first_after(t), "ix_changes_key"),
    "changes": (lambda t: t.changes.since(CLAIMS - 5, limit=100), "pk_changes"),
}


def _first_after(topology: Topology) -> object:
    with topology._store.read() as connection:
        return first_after(connection, "claim", ["route:r8", "username:r9"], 1)


@pytest.fixture
def filled(topology: Topology) -> Iterator[Topology]:
    for number in (1, 2):
        topology.cells.create(cell_spec(number), actor="m")
    sqlite = topology._store.engine.dialect.name == "sqlite"
    numbers = (
        "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {0}) SELECT i FROM n)"
        if sqlite
        else "generate_series(1, {0})"
    )
    claims = numbers.format(CLAIMS)
    zero = "X'00'" if sqlite else "'\\x00'::bytea"
    statements = [
        f"""INSERT INTO claims (bucket, value, cell_id, revision, created_at, uuid, status, lease,
            subject_type, subject_id, source_type, source_id, updated_at)
            SELECT CASE i % 2 WHEN 0 THEN 'route' ELSE 'username' END, 'r' || i, 1 + i % 2, i,
            '2026-01-01', 'u' || i, 'active', CASE i % 100 WHEN 0 THEN 'l' || i END, 3, i,
            i % 5, {zero}, '2026-01-01' FROM {claims} AS s(i)""",
        f"""INSERT INTO leases (uuid, cell_id, state, destroys, revision, created_at, updated_at,
            settled_at) SELECT 'l' || i, 1, 'x', 0, i, '2026-01-01', '2026-01-01',
            {
            "CASE i % 50 WHEN 0 THEN NULL ELSE '2026-01-01' END"
            if sqlite
            else "CASE i % 50 WHEN 0 THEN NULL ELSE timestamptz '2026-01-01' END"
        }
            FROM {numbers.format(LEASES)} AS s(i)""",
        f"""INSERT INTO replacements (lease, bucket, value, uuid, subject_type, subject_id,
            source_type, created_at) SELECT 'l' || i, 'route', 'r' || i, 'u', 0, 0, 0,
            '2026-01-01' FROM {numbers.format(LEASES)} AS s(i)""",
        f"""INSERT INTO changes (revision, ordinal, kind, action, key, actor, at)
            SELECT i + 10, 0, 'claim', 'create', 'route:r' || i, 'm', '2026-01-01'
            FROM {claims} AS s(i)""",
    ]
    with topology._store._write_engine.connect() as connection, connection.begin():
        for sql in statements:
            connection.exec_driver_sql(
                sql.replace(" AS s(i)", "") if sqlite else sql.replace("%", "%%")
            )
    if not sqlite:
        with topology._store.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))
    yield topology


def plan(topology: Topology, sql: str, params: Any) -> str:
    """The plan as text; PostgreSQL's is the generic one, for any parameters."""
    raw: Any = topology._store.engine.raw_connection()
    try:
        if topology._store.engine.dialect.name == "sqlite":
            found = raw.execute(f"EXPLAIN QUERY PLAN {sql}", params).fetchall()
            return "\n".join(row[3] for row in found)
        numbers = itertools.count(1)
        sql = re.sub(r"%\(\w+\)s|%s", lambda _: f"${next(numbers)}", _numbered(sql).decode())
        cursor = raw.cursor()
        cursor.execute(f"EXPLAIN (GENERIC_PLAN) {sql}")
        return "\n".join(row[0] for row in cursor.fetchall())
    finally:
        raw.rollback()
        raw.close()


def uses(found: str, index: str, *, sqlite: bool) -> None:
    assert "Seq Scan on claims" not in found, found
    assert "SCAN claims" not in found, found
    names = index.split("|")
    if sqlite and index.startswith("pk_"):
        # SQLite's primary keys have no name: a table without row ids is its key.
        names += ["PRIMARY KEY", f"sqlite_autoindex_{index.removeprefix('pk_').split('|')[0]}"]
    assert any(name in found for name in names), found


@pytest.mark.parametrize("name", FIXED)
def test_a_hot_write_uses_its_index(filled: Topology, engine: str, name: str) -> None:
    statement, index = FIXED[name]
    uses(plan(filled, statement.sql, statement.params), index, sqlite=engine == "sqlite")


def test_the_owner_lookup_uses_the_primary_key(filled: Topology, engine: str) -> None:
    found = plan(filled, owner_sql("?" if engine == "sqlite" else "%s"), ("route", "r8"))
    uses(found, "pk_claims", sqlite=engine == "sqlite")


@pytest.mark.parametrize("name", READS)
def test_a_hot_read_uses_its_index(filled: Topology, engine: str, name: str) -> None:
    call, index = READS[name]
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _k: Any, statement: str, params: Any, *_: Any) -> None:
        if "FROM" in statement and not re.search(r"FROM (revisions|cells)", statement):
            asked.append((statement, params))

    event.listen(filled._store.engine, "before_cursor_execute", note)
    call(filled)
    event.remove(filled._store.engine, "before_cursor_execute", note)
    assert asked
    for statement, params in asked:
        uses(plan(filled, statement, params), index, sqlite=engine == "sqlite")


def test_a_begin_is_few_statements(two: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    """Revision, lease, claims, feed, epochs and tombstones; then revision, lease, claims, feed."""
    sent: list[int] = []
    real = Store.write_statements

    def count(store: Any, write: Any) -> Any:
        sent.append(1 + len(write.statements))
        return real(store, write)

    monkeypatch.setattr(Store, "write_statements", count)
    lease = two.leases.begin(1, [RecordSpec("route", f"r{n}") for n in range(10)], [], actor="m")
    two.leases.commit(1, lease.value.uuid, actor="m")
    assert sent == [6, 4]
