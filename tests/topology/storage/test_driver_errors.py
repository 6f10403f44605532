"""Which error of a driver becomes which error of the topology."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import NullPool

from control_plane.topology.storage.driver_errors import translate, translated_errors, trouble_of
from control_plane.topology.values.errors import (
    Contention,
    DatabaseDenied,
    DatabaseFailed,
    DatabaseFull,
    DatabaseSlow,
    DatabaseTrouble,
    NotFound,
    TopologyError,
    Unavailable,
)


class Crashed(psycopg.OperationalError):
    sqlstate = "57P02"


class TooManyConnections(psycopg.OperationalError):
    sqlstate = "53300"


class DiskFull(psycopg.OperationalError):
    sqlstate = "53100"


def of_sqlite(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("the text")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (psycopg.OperationalError("no answer came"), Unavailable),
        (psycopg.InterfaceError("the connection is closed"), Unavailable),
        (psycopg.errors.AdminShutdown("57P01"), Unavailable),
        (psycopg.errors.ConnectionException("08000"), Unavailable),
        (Crashed(), Unavailable),
        (TooManyConnections(), Unavailable),
        (DiskFull(), DatabaseFull),
        (psycopg.errors.SerializationFailure(), Contention),
        (psycopg.errors.DeadlockDetected(), Contention),
        (psycopg.errors.UndefinedTable(), DatabaseFailed),
        (of_sqlite(sqlite3.SQLITE_BUSY), Contention),
        (of_sqlite(sqlite3.SQLITE_BUSY_SNAPSHOT), Contention),
        (of_sqlite(sqlite3.SQLITE_LOCKED), Contention),
        (of_sqlite(sqlite3.SQLITE_FULL), DatabaseFull),
        (sqlite3.OperationalError("without a code"), DatabaseFailed),
        (sqlite3.DatabaseError("malformed"), DatabaseFailed),
        (PoolTimeout("no connection became free"), DatabaseSlow),
    ],
)
def test_each_error_has_its_kind(error: Exception, kind: type[TopologyError]) -> None:
    assert type(translate(error)) is kind


def test_what_sqlalchemy_wraps_is_judged_by_the_drivers_own_error() -> None:
    wrapped = OperationalError("SELECT secret", {}, of_sqlite(sqlite3.SQLITE_BUSY))
    assert isinstance(translate(wrapped), Contention)
    lost = OperationalError("SELECT secret", {}, psycopg.OperationalError("gone"))
    assert str(translate(lost)) == "the database is unavailable: gone"


def test_the_statement_and_its_parameters_are_not_told() -> None:
    failed = ProgrammingError(
        "SELECT secret", {"name": "ann"}, sqlite3.OperationalError("no table")
    )
    assert str(translate(failed)) == "the database failed: no table"


def test_the_drivers_error_is_the_cause(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/x.db", poolclass=NullPool)
    with (
        pytest.raises(DatabaseFailed, match="no such table: nowhere") as caught,
        translated_errors,
        engine.connect() as connection,
    ):
        connection.execute(text("SELECT 1 FROM nowhere"))
    assert isinstance(caught.value.__cause__, SQLAlchemyError)


def test_other_errors_pass_as_they_are() -> None:
    for error in (NotFound("cell", "a"), ValueError("ours"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, translated_errors:
            raise error
        assert caught.value is error


def test_it_is_a_decorator_too() -> None:
    @translated_errors
    def read() -> None:
        raise sqlite3.DatabaseError("malformed")

    with pytest.raises(DatabaseFailed, match="malformed"):
        read()


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DatabaseFull),
        (errno.EDQUOT, DatabaseFull),
        (errno.EROFS, DatabaseDenied),
        (errno.EACCES, DatabaseDenied),
        (errno.EIO, DatabaseTrouble),
    ],
)
def test_a_file_of_ours_that_cannot_be_used_has_a_kind_too(
    number: int, kind: type[TopologyError]
) -> None:
    error = OSError(number, os.strerror(number))
    assert type(trouble_of(error, Path("/data/mark.json"))) is kind


def test_a_text_of_several_lines_becomes_one_line() -> None:
    error = psycopg.errors.UndefinedTable("no table\nLINE 1: SELECT\n      ^")
    assert str(translate(error)) == "the database failed: no table LINE 1: SELECT ^"
