"""The one place where errors of the database drivers become errors of the topology.

SQLAlchemy, psycopg and sqlite3 each have a family of errors, and one event (the server is gone)
comes as a different class from each. Whatever touches a database does so in `translated_errors`, so
that the code outside knows these kinds only:

    Unavailable       the connection is lost, or none could be made; trying again may help
      ReadOnly        the server takes no writes; another connection may lead to one that does
    Contention        other writers were in the way; nothing was written
    DatabaseFailed    the statement is at fault: wrong syntax, a missing table
      DatabaseTrouble  what the database's operator can end: DatabaseFull (disk, quota, memory),
                      DatabaseSlow (a timeout), DatabaseDenied (rights), DatabaseDamaged (its files)

`trouble_codes` says which code of a driver means what.
"""

from __future__ import annotations

import errno
import sqlite3
from contextlib import ContextDecorator
from pathlib import Path
from types import TracebackType

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from control_plane.topology.storage import psycopg_errors as psycopg
from control_plane.topology.storage.trouble_codes import (
    Kind,
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
    DatabaseTrouble,
    TopologyError,
    Unavailable,
)

_DRIVER_ERRORS = (SQLAlchemyError, psycopg.Error, sqlite3.Error)
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_RIGHT = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_HINTS: dict[type[TopologyError], str] = {
    DatabaseFull: "make room (disk, quota, limits); what is stored is kept, and writes go on then",
    DatabaseDamaged: "see docs/backup.md",
}
"""What to do where the driver's text leaves it open. Its text names no disk, for example."""


class _TranslatedErrors(ContextDecorator):
    """Raises the topology's error in place of a driver's. It has no state: one object serves all.

    A class rather than a generator, because it surrounds look-ups that take microseconds.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, _DRIVER_ERRORS):
            raise translate(error) from error


translated_errors = _TranslatedErrors()
"""``with translated_errors:`` or ``@translated_errors`` around whatever touches a database."""


def translate(error: Exception) -> TopologyError:
    """Return the topology's error for a driver's error.

    The text is the driver's own. SQLAlchemy's has the statement and its parameters too, which are
    nothing for a client to see.
    """
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    # Some texts of PostgreSQL have a second line, with a hint or a place in the statement.
    text = " ".join(str(cause).split())
    kind = _kind_of(cause)
    if kind is Contention:
        return Contention(1)
    if kind in _HINTS:
        text = f"{text}; {_HINTS[kind]}"
    made: TopologyError = kind(text)
    return made


def trouble_of(error: OSError, path: Path) -> DatabaseTrouble:
    """Return the topology's error for a file of ours, beside the database, that can't be used."""
    text = f"{path}: {error.strerror or error}"
    if error.errno in _NO_ROOM:
        return DatabaseFull(f"{text}; {_HINTS[DatabaseFull]}")
    return DatabaseDenied(text) if error.errno in _NO_RIGHT else DatabaseTrouble(text)


def _kind_of(error: BaseException) -> Kind:
    if isinstance(error, sqlite3.Error):
        return kind_of_sqlite_code(getattr(error, "sqlite_errorcode", 0))
    if isinstance(error, psycopg.Error) and error.sqlstate is not None:
        return kind_of_sqlstate(error.sqlstate)
    # Without an SQLSTATE no answer came from the server.
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return Unavailable
    return DatabaseSlow if isinstance(error, PoolTimeout) else DatabaseFailed
