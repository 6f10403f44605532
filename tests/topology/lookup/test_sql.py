"""The statements of look-ups, on a bare driver."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from control_plane.topology.lookup.sql import OwnersSql, owner_sql


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with sqlite3.connect(":memory:") as opened:
        opened.execute("CREATE TABLE claims (bucket, value, cell_id, hold)")
        opened.execute("CREATE TABLE revisions (revision, edge_revision)")
        opened.execute("INSERT INTO revisions VALUES (9, 3)")
        opened.execute(
            "INSERT INTO claims (bucket, value, cell_id) VALUES ('route', 'a', 1), ('route', 'b', 2)"
        )
        yield opened
    opened.close()


@pytest.mark.parametrize("names", [(), ("a",), ("b", "nobody's", "a")])
def test_a_row_has_both_revisions_and_an_owner_for_each_key(
    connection: sqlite3.Connection, names: tuple[str, ...]
) -> None:
    params = [part for name in names for part in ("route", name)]
    row = connection.execute(OwnersSql("?")[len(names)], params).fetchone()
    owners = {"a": 1, "b": 2}
    assert row == (9, 3, *(owners.get(name) for name in names))


def test_one_key_alone_has_a_statement_of_its_own(connection: sqlite3.Connection) -> None:
    statement = owner_sql("?")
    assert connection.execute(statement, ("route", "b")).fetchone() == (2,)
    assert connection.execute(statement, ("route", "c")).fetchone() is None


def test_a_statement_is_written_once() -> None:
    statements = OwnersSql("%s")
    assert statements[2] is statements[2]
    assert statements[2].count("%s") == 4
    assert len(statements) == 1
