"""The one place where errors of the database drivers become errors of the topology.

SQLAlchemy, psycopg and sqlite3 each have a family of errors, and one event (the server is gone)
comes as a different class from each. Whatever touches a database does so in `translated_errors`, so
that the code outside knows three kinds only:

    Unavailable     the connection is lost, or none could be made; trying again may help
    Contention      other writers were in the way; nothing was written
    DatabaseFailed  anything else: a full disk, a missing table, no free connection in the pool
"""

from __future__ import annotations

import sqlite3
from contextlib import ContextDecorator
from types import TracebackType

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from control_plane.topology.storage import psycopg_errors as psycopg
from control_plane.topology.values.errors import (
    Contention,
    DatabaseFailed,
    TopologyError,
    Unavailable,
)

_DRIVER_ERRORS = (SQLAlchemyError, psycopg.Error, sqlite3.Error)
_SQLITE_CONFLICTS = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_POSTGRESQL_CONFLICTS = frozenset({"40001", "40P01"})
"""SQLSTATEs of a serialisation failure and of a deadlock."""
_TOO_MANY_CONNECTIONS = "53300"
_LOST_CLASSES = ("08", "57P")
"""SQLSTATEs of a lost connection begin with these: 08 is a connection exception, and 57P means that
the server shuts down, has crashed or is starting."""


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
    text = str(cause).strip()
    if _is_lost(cause):
        return Unavailable(text)
    if _is_conflict(cause):
        return Contention(1)
    return DatabaseFailed(text)


def _is_conflict(error: BaseException) -> bool:
    if isinstance(error, sqlite3.OperationalError):
        # The low byte is the primary code; the rest says more of the reason.
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in _SQLITE_CONFLICTS
    return isinstance(error, psycopg.Error) and error.sqlstate in _POSTGRESQL_CONFLICTS


def _is_lost(error: BaseException) -> bool:
    if isinstance(error, psycopg.InterfaceError):
        return True
    if not isinstance(error, psycopg.OperationalError):
        return False
    # Without an SQLSTATE no answer came from the server.
    state = error.sqlstate
    return state is None or state.startswith(_LOST_CLASSES) or state == _TOO_MANY_CONNECTIONS
