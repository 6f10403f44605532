"""psycopg's errors by their names, whether or not psycopg is installed.

It comes with the extra ``cellway[postgresql]``; a control plane on SQLite does without. Then these
are classes that nobody raises, and whatever tells errors apart can ask for them all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg import Error, InterfaceError, OperationalError
else:
    try:
        from psycopg import Error, InterfaceError, OperationalError
    except ImportError:

        class Error(Exception):
            """Any error of psycopg."""

            sqlstate = None

        class InterfaceError(Error):
            """The connection is at fault."""

        class OperationalError(Error):
            """The server is at fault."""


__all__ = ["Error", "InterfaceError", "OperationalError"]
