"""Fixed SQL on the driver itself: one text for both databases, many statements in one round trip.

The hot writes can't pay for what SQLAlchemy does on each call (it compiles an insert of several
rows anew for each number of rows), nor for one round trip a statement. So they are made of
`Statement`, SQL text and its parameters, and `execute` hands any number of them to the driver.

There is one kind of placeholder: ``?`` stands for a parameter, as in

    Statement("UPDATE claims SET lease = ? WHERE bucket = ? AND value = ?", (lease, "route", "a"))

On SQLite the text goes to the driver as it is; for PostgreSQL `Dialect.run` numbers the parameters
(``$1``, ``$2``), once per text. No ``?`` may stand in a text for anything else. Where the number of
rows or keys varies, `for_rows` and `in_keys` make the placeholders, and a function of the caller's
makes the text around them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection

from control_plane.topology.storage.dialect import dialect_of
from control_plane.topology.values.claim_key import KeyPair

ROWS_PER_STATEMENT = 100
"""Rows of one statement at most. It bounds the number of different texts, and their parameters."""


class Statement(NamedTuple):
    """SQL with ``?`` for each parameter."""

    sql: str
    params: Sequence[Any] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a statement: how many rows it changed, and the rows that it returned."""

    count: int
    rows: list[tuple[Any, ...]]


def execute(connection: Connection, statements: Sequence[Statement]) -> list[Result]:
    """Run statements in order in the connection's transaction; on PostgreSQL in one round trip.

    Returns:
        A result for each. Where one fails, those after it are not run.
    """
    return [Result(*one) for one in dialect_of(connection).run(connection, statements)]


def insert_many(
    connection: Connection, table: str, columns: Sequence[str], values: Sequence[Sequence[Any]]
) -> int:
    """Insert rows in bulk, except those whose key exists; return how many were inserted."""
    head = f"INSERT INTO {table} ({', '.join(columns)})"
    return dialect_of(connection).insert(connection, head, values)


def stored(connection: Connection, at: datetime) -> datetime | str:
    """Return a time in the form that a parameter of a `Statement` must have."""
    return dialect_of(connection).stored(at)


def moment(stored: str | datetime) -> datetime:
    """Return a time that the driver or SQLAlchemy has read, in UTC."""
    if isinstance(stored, str):
        stored = datetime.fromisoformat(stored)
    return stored.astimezone(UTC) if stored.tzinfo else stored.replace(tzinfo=UTC)


def clock(connection: Connection) -> datetime:
    """Return the time by the database's clock."""
    now = Statement(f"SELECT {dialect_of(connection).now}")
    return moment(execute(connection, [now])[0].rows[0][0])


def for_rows(
    text: Callable[[str], str], rows: Sequence[Sequence[Any]], *after: Any
) -> list[Statement]:
    """Make statements that carry all of the rows, `ROWS_PER_STATEMENT` at most in each.

    Args:
        text: makes the SQL around the placeholders of some rows, such as ``(?, ?), (?, ?)``.
            It is called once for each number of rows, so it must depend on nothing else.
        rows: of equal length.
        after: parameters of each statement that come after those of the rows.
    """
    statements: list[Statement] = []
    for chunk in chunked(rows):
        params = [value for row in chunk for value in row]
        params.extend(after)
        statements.append(Statement(_text_for(text, len(chunk), len(chunk[0])), params))
    return statements


@lru_cache(maxsize=16 * ROWS_PER_STATEMENT)
def _text_for(text: Callable[[str], str], count: int, width: int) -> str:
    """Return the text for a number of rows: always the same object, so that it is hashed once."""
    return text(placeholders(count, width))


def placeholders(count: int, width: int) -> str:
    """Return those of ``count`` rows of ``width`` parameters: ``(?, ?), (?, ?)``."""
    return ", ".join([f"({', '.join('?' * width)})"] * count)


def chunked[T](items: Sequence[T]) -> list[Sequence[T]]:
    """Cut a sequence into pieces that one statement takes."""
    size = ROWS_PER_STATEMENT
    return [items[at : at + size] for at in range(0, len(items), size)]


def in_keys(keys: Sequence[KeyPair]) -> Statement:
    """Make a condition on bucket and value that each database answers from the primary key.

    It is a piece of SQL for a WHERE clause, with its parameters.
    """
    by_bucket: dict[str, list[str]] = {}
    for bucket, value in keys:
        by_bucket.setdefault(bucket, []).append(value)
    parts = [
        f"bucket = ? AND value IN ({', '.join('?' * len(values))})" for values in by_bucket.values()
    ]
    params = [item for bucket, values in by_bucket.items() for item in (bucket, *values)]
    return Statement(f"({' OR '.join(parts)})", params)
