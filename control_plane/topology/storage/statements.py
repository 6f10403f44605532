"""Fixed SQL on the driver itself: one text for both engines, many statements in one round trip.

SQLAlchemy compiles a multi-row insert anew for each number of rows; the hot writes can't pay for
that, nor for one round trip a statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection

from control_plane.topology.storage.engines import CHANNEL, PREPARED
from control_plane.topology.storage.libpq_pipeline import run
from control_plane.topology.values.claim_key import KeyPair

ROWS_PER_STATEMENT = 100
"""Rows of one insert at most: bounds the number of statement texts, and SQLite's parameters."""


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with ``?`` for each parameter; ``{now}`` in it stands for the database's clock."""

    sql: str
    params: Sequence[Any] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What a statement gave: the number of rows that it changed, and those that it returned."""

    count: int
    rows: list[tuple[Any, ...]]


@lru_cache(maxsize=1024)
def _for_sqlite(sql: str) -> str:
    return sql.replace("{now}", "strftime('%Y-%m-%d %H:%M:%f000', 'now')").replace("{notify}", "1")


@lru_cache(maxsize=1024)
def _for_postgresql(sql: str) -> bytes:
    notify = f"pg_notify('{CHANNEL}', CAST(revision AS text))"
    sql = sql.replace("{now}", "clock_timestamp()").replace("{notify}", notify)
    first, *rest = sql.split("?")
    return (first + "".join(f"${number}{part}" for number, part in enumerate(rest, 1))).encode()


def execute(connection: Connection, statements: Sequence[Statement]) -> list[Result]:
    """Run them in order in the connection's transaction; on PostgreSQL in one round trip."""
    raw: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite":
        return [_on_sqlite(raw, one) for one in statements]
    sent = [(_for_postgresql(one.sql), one.params) for one in statements]
    found = run(raw, connection.info.get(PREPARED), sent)
    return [Result(count, rows_found) for count, rows_found in found]


def _on_sqlite(raw: Any, statement: Statement) -> Result:
    cursor = raw.execute(_for_sqlite(statement.sql), statement.params)
    # Only when all is fetched does the driver know how many rows changed.
    fetched = cursor.fetchall()
    return Result(cursor.rowcount, fetched)


def insert_many(
    connection: Connection, table: str, columns: Sequence[str], values: Sequence[Sequence[Any]]
) -> int:
    """Insert rows in bulk, leaving out those whose key exists; the number of rows inserted."""
    head = f"INSERT INTO {table} ({', '.join(columns)}) VALUES "  # noqa: S608 - our own names
    tail = " ON CONFLICT DO NOTHING"
    if connection.dialect.name == "sqlite":
        raw: Any = connection.connection.dbapi_connection
        sql = head + rows(1, len(columns)) + tail
        return int(raw.executemany(sql, values).rowcount)
    done = execute(
        connection,
        [
            Statement(
                head + rows(len(chunk), len(columns)) + tail,
                [value for row in chunk for value in row],
            )
            for chunk in chunked(values)
        ],
    )
    return sum(one.count for one in done)


def stored(connection: Connection, at: datetime) -> datetime | str:
    """A time as the driver takes it; SQLite has text, as SQLAlchemy writes it."""
    if connection.dialect.name == "sqlite":
        return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    return at


def rows(count: int, width: int) -> str:
    """``count`` rows of ``width`` parameters for VALUES."""
    one = f"({', '.join('?' * width)})"
    return ", ".join([one] * count)


def chunked[T](items: Sequence[T]) -> list[Sequence[T]]:
    """The items in pieces that one statement takes."""
    size = ROWS_PER_STATEMENT
    return [items[at : at + size] for at in range(0, len(items), size)]


def in_keys(keys: Sequence[KeyPair]) -> Statement:
    """A condition on bucket and value that each engine answers from the primary key."""
    by_bucket: dict[str, list[str]] = {}
    for bucket, value in keys:
        by_bucket.setdefault(bucket, []).append(value)
    parts = [
        f"bucket = ? AND value IN ({', '.join('?' * len(values))})" for values in by_bucket.values()
    ]
    params = [item for bucket, values in by_bucket.items() for item in (bucket, *values)]
    return Statement(f"({' OR '.join(parts)})", params)


def moment(stored: str | datetime) -> datetime:
    """A time as the driver gives it, in UTC."""
    if isinstance(stored, str):
        stored = datetime.fromisoformat(stored)
    return stored.astimezone(UTC) if stored.tzinfo else stored.replace(tzinfo=UTC)


def clock(connection: Connection) -> datetime:
    """Now, by the database's clock."""
    return moment(execute(connection, [Statement("SELECT {now}")])[0].rows[0][0])
