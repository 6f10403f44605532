"""Which trouble each code of the database drivers means.

PostgreSQL names a failure by an SQLSTATE, whose first two characters are a class. SQLite has a
primary code, in the low byte, and an extended one that says more. What is more exact wins::

    57014   a statement_timeout             DatabaseSlow
    57P01   57P: the server shuts down      Unavailable
    57ZZZ   57: some intervention           Unavailable

Codes that stand in none of the tables blame the statement: wrong syntax, a missing table, a broken
constraint. These are faults of this program, or of the schema it finds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from types import MappingProxyType

from control_plane.topology.values.errors import (
    Contention,
    DatabaseDamaged,
    DatabaseDenied,
    DatabaseFailed,
    DatabaseFull,
    DatabaseSlow,
    ReadOnly,
    TopologyError,
    Unavailable,
)

type Kind = type[TopologyError]

_SQLSTATES: Mapping[str, Kind] = MappingProxyType(
    {
        "08": Unavailable,  # connection exceptions
        "25006": ReadOnly,  # a read-only transaction: a standby, or a role or database set so
        "25P03": Unavailable,  # idle_in_transaction_session_timeout: the session has ended
        "25P04": Unavailable,  # transaction_timeout: the session has ended
        "28": DatabaseDenied,  # a refused login
        "3D": Unavailable,  # there is no such database: another server, or a restore under way
        "40": Contention,  # serialization failures, deadlocks
        "40003": Unavailable,  # nobody knows whether the statement was completed
        "42501": DatabaseDenied,
        "53": DatabaseFull,  # disk, memory, a configured limit
        "53300": Unavailable,  # too many connections
        "55": Unavailable,  # the server is not in a state to do it, for example in recovery
        "55P03": DatabaseSlow,  # lock_timeout
        "57": Unavailable,  # an operator intervenes: shutdown, crash, start, a dropped database
        "57014": DatabaseSlow,  # statement_timeout
        "58": DatabaseDamaged,  # errors of the system below: input and output, missing files
        "72": DatabaseSlow,  # snapshot too old
        "F0": DatabaseDamaged,  # the server's configuration files
        "XX": DatabaseDamaged,  # internal errors, corrupted data
    }
)
"""By SQLSTATE, or by its class of two characters."""
BLAMELESS_CLASSES = frozenset(
    {
        *("00", "01", "02"),  # success, warnings, no data
        *("03", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10"),  # features, statements
        *("20", "21", "22", "23", "24", "25", "26", "27"),  # data, constraints, states
        *("2B", "2D", "2F", "34", "38", "39", "3B", "3F", "42", "44"),  # programming, syntax
        *("54", "HV", "P0"),  # limits of a statement, foreign data, procedures and triggers
    }
)
"""The classes of SQLSTATEs that blame the statement and not the database."""

_IO_NO_ROOM = frozenset(
    {
        # A full disk is SQLITE_FULL in most places. A quota, a limit of the file's size, and a
        # full disk under the log's index are these.
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_DIR_FSYNC,
        sqlite3.SQLITE_IOERR_TRUNCATE,
        sqlite3.SQLITE_IOERR_SHMSIZE,
        sqlite3.SQLITE_IOERR_SHMMAP,
    }
)
_SQLITE: Mapping[int, Kind] = MappingProxyType(
    {
        sqlite3.SQLITE_BUSY: Contention,
        sqlite3.SQLITE_LOCKED: Contention,
        sqlite3.SQLITE_PROTOCOL: Contention,  # processes raced for the log's index
        sqlite3.SQLITE_ABORT: Contention,
        sqlite3.SQLITE_INTERRUPT: DatabaseSlow,
        sqlite3.SQLITE_FULL: DatabaseFull,
        sqlite3.SQLITE_NOMEM: DatabaseFull,
        sqlite3.SQLITE_READONLY: ReadOnly,
        sqlite3.SQLITE_PERM: DatabaseDenied,
        sqlite3.SQLITE_AUTH: DatabaseDenied,
        sqlite3.SQLITE_CANTOPEN: Unavailable,
        sqlite3.SQLITE_IOERR: DatabaseDamaged,
        sqlite3.SQLITE_CORRUPT: DatabaseDamaged,
        sqlite3.SQLITE_NOTADB: DatabaseDamaged,
    }
)
"""By primary code."""


def kind_of_sqlstate(state: str) -> Kind:
    """Return what an SQLSTATE means."""
    return _SQLSTATES.get(state) or _SQLSTATES.get(state[:2]) or DatabaseFailed


def kind_of_sqlite_code(code: int) -> Kind:
    """Return what an extended result code of SQLite means."""
    if code in _IO_NO_ROOM:
        return DatabaseFull
    return _SQLITE.get(code & 0xFF, DatabaseFailed)
