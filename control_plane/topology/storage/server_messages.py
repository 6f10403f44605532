"""What PostgreSQL tells its clients unasked: that something was committed, and its own state.

Nothing here imports psycopg, which is an extra: look-ups are imported on SQLite too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg

CHANNEL = "cellway_revision"
"""The NOTIFY channel. A notification carries a revision, and is a hint only."""
_WRITABLE = frozenset({"read-write", "primary"})


def is_elsewhere(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Return whether a connection that is to write has come to be on a server that takes no writes.

    It matters to reads, too: that server no longer hears of new commits. The server tells its state
    unasked, so this asks nothing (PostgreSQL 14 and newer). It is True only where
    ``target_session_attrs`` is ``read-write`` or ``primary``, so that a new connection can find
    another server.
    """
    if connection.closed:
        return False
    told = connection.info.parameter_status
    if "on" not in {told("in_hot_standby"), told("default_transaction_read_only")}:
        return False
    return connection.info.get_parameters().get("target_session_attrs") in _WRITABLE
