"""How the texts of fixed statements are made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from control_plane.topology.storage.statements import (
    ROWS_PER_STATEMENT,
    Statement,
    chunked,
    for_rows,
    in_keys,
    moment,
    placeholders,
)


def _insert(rows: str) -> str:
    return f"INSERT INTO t VALUES {rows} RETURNING ?"


def test_each_row_has_its_placeholders() -> None:
    assert placeholders(2, 3) == "(?, ?, ?), (?, ?, ?)"


def test_rows_come_before_what_comes_after_them() -> None:
    assert for_rows(_insert, [(1, "a"), (2, "b")], "x") == [
        Statement("INSERT INTO t VALUES (?, ?), (?, ?) RETURNING ?", [1, "a", 2, "b", "x"])
    ]


def test_many_rows_are_several_statements_of_few_texts() -> None:
    rows = [(number,) for number in range(2 * ROWS_PER_STATEMENT + 1)]
    statements = for_rows(_insert, rows, "x")
    assert len(statements) == 3
    assert len({one.sql for one in statements}) == 2
    assert [value for one in statements for value in one.params if value != "x"] == [
        number for (number,) in rows
    ]
    assert all(one.params[-1] == "x" for one in statements)


def test_no_rows_are_no_statement() -> None:
    assert for_rows(_insert, [], "x") == []
    assert chunked([]) == []


def test_keys_are_looked_for_by_bucket() -> None:
    keys = [("route", "a"), ("username", "b"), ("route", "c")]
    condition = in_keys(keys)
    assert condition.sql == "(bucket = ? AND value IN (?, ?) OR bucket = ? AND value IN (?))"
    assert condition.params == ["route", "a", "c", "username", "b"]


def test_a_time_is_read_in_utc_however_it_comes() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 600000, tzinfo=UTC)
    for given in (
        "2026-01-02 03:04:05.600000",
        at.replace(tzinfo=None),
        at,
        at.astimezone(timezone(timedelta(hours=2))),
    ):
        assert moment(given) == at
        assert moment(given).tzinfo is UTC
