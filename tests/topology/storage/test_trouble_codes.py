"""Every code of both drivers has a kind, and only those that blame the statement blame us."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest
from psycopg import errors

from control_plane.topology.storage import trouble_codes
from control_plane.topology.storage.driver_errors import translate
from control_plane.topology.storage.trouble_codes import (
    BLAMELESS_CLASSES,
    kind_of_sqlite_code,
    kind_of_sqlstate,
)
from control_plane.topology.values.errors import (
    Contention,
    DatabaseDamaged,
    DatabaseDenied,
    DatabaseFailed,
    DatabaseFull,
    DatabaseSlow,
    ReadOnly,
    Unavailable,
)

STATES = {
    found.sqlstate: found
    for found in vars(errors).values()
    if isinstance(found, type)
    and issubclass(found, psycopg.Error)
    and isinstance(found.sqlstate, str)
}
OF_THE_DATABASE = (
    *("PERM", "ABORT", "BUSY", "LOCKED", "NOMEM", "READONLY", "INTERRUPT", "IOERR", "CORRUPT"),
    *("FULL", "CANTOPEN", "PROTOCOL", "AUTH", "NOTADB"),
)
OF_THE_STATEMENT = (
    *("ERROR", "INTERNAL", "NOTFOUND", "EMPTY", "SCHEMA", "TOOBIG", "CONSTRAINT", "MISMATCH"),
    *("MISUSE", "NOLFS", "FORMAT", "RANGE"),
)
"""SQLite's primary codes of errors. Its constants of other kinds have the same numbers."""


def codes_of(primaries: tuple[str, ...]) -> list[str]:
    """Return the names of primary codes, and of the extended codes below them."""
    longer = tuple(f"SQLITE_{one}_" for one in primaries)
    return [
        name
        for name, value in vars(sqlite3).items()
        if name.removeprefix("SQLITE_") in primaries
        or (name.startswith(longer) and value > 0xFF and isinstance(value, int))
    ]


def test_psycopg_tells_many_states() -> None:
    assert len(STATES) > 200


@pytest.mark.parametrize("state", STATES)
def test_only_a_state_that_blames_the_statement_is_a_fault_of_ours(state: str) -> None:
    known = [one for one in (state, state[:2]) if one in trouble_codes._SQLSTATES]
    assert bool(known) != (kind_of_sqlstate(state) is DatabaseFailed)
    assert known or state[:2] in BLAMELESS_CLASSES, "the state's class stands in no table"
    assert isinstance(translate(STATES[state]("text")), kind_of_sqlstate(state))


def test_no_class_of_states_stands_in_both_tables() -> None:
    assert not BLAMELESS_CLASSES & set(trouble_codes._SQLSTATES)


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("25006", ReadOnly),
        ("57P01", Unavailable),
        ("57P03", Unavailable),
        ("57P05", Unavailable),
        ("08006", Unavailable),
        ("53300", Unavailable),
        ("53100", DatabaseFull),
        ("53200", DatabaseFull),
        ("53400", DatabaseFull),
        ("57014", DatabaseSlow),
        ("55P03", DatabaseSlow),
        ("42501", DatabaseDenied),
        ("28P01", DatabaseDenied),
        ("58030", DatabaseDamaged),
        ("XX001", DatabaseDamaged),
        ("40001", Contention),
        ("40003", Unavailable),
        ("08ZZZ", Unavailable),
        ("42601", DatabaseFailed),
        ("23505", DatabaseFailed),
        ("P0001", DatabaseFailed),
    ],
)
def test_states_mean_what_an_operator_would_say(state: str, kind: type[Exception]) -> None:
    assert kind_of_sqlstate(state) is kind


@pytest.mark.parametrize("name", codes_of(OF_THE_STATEMENT))
def test_a_code_that_blames_the_statement_is_a_fault_of_ours(name: str) -> None:
    assert kind_of_sqlite_code(getattr(sqlite3, name)) is DatabaseFailed


@pytest.mark.parametrize("name", codes_of(OF_THE_DATABASE))
def test_a_code_that_blames_the_database_is_none(name: str) -> None:
    assert kind_of_sqlite_code(getattr(sqlite3, name)) is not DatabaseFailed


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, DatabaseFull),
        (sqlite3.SQLITE_IOERR_WRITE, DatabaseFull),
        (sqlite3.SQLITE_IOERR_READ, DatabaseDamaged),
        (sqlite3.SQLITE_READONLY_DIRECTORY, ReadOnly),
        (sqlite3.SQLITE_NOTADB, DatabaseDamaged),
        (sqlite3.SQLITE_CANTOPEN, Unavailable),
    ],
)
def test_codes_mean_what_an_operator_would_say(code: int, kind: type[Exception]) -> None:
    assert kind_of_sqlite_code(code) is kind
