"""Times the statements that SQLAlchemy runs, by verb and table, and shows the database's state."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry
from sqlalchemy import Connection, Engine, ExceptionContext, event
from sqlalchemy.pool import ConnectionPoolEntry

from control_plane.metrics.catalogue import gauge, histogram

_TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE)\s+\"?([a-z_]{1,40})", re.IGNORECASE)
_VERBS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})


class DatabaseMetrics:
    """``cellway_db_seconds{query}``, from whichever thread runs a statement, and gauges.

    The label is a verb and a table ("select claims"), "commit" or "other": there are as many values
    as tables, whatever the statements. Those that run on the driver's own cursor are not among
    them: the classifier's look-ups of claims, which ``cellway_classify_seconds`` contains, and the
    statements of hot writes, whose commit is timed.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = histogram(registry, "cellway_db_seconds", "query")
        self._readable = gauge(registry, "cellway_database_readable")
        self._writable = gauge(registry, "cellway_database_writable")
        self._log_bytes = gauge(registry, "cellway_db_log_bytes")

    def watch(self, *, writable: Callable[[], bool], log_bytes: Callable[[], int | None]) -> None:
        """Show from now on what these functions return at the moment of a scrape."""
        self._writable.set_function(lambda: float(writable()))
        self._log_bytes.set_function(lambda: float(log_bytes() or 0))

    def set_readable(self, *, readable: bool) -> None:
        """Set whether a scrape could read the database."""
        self._readable.set(readable)

    def observe(self, engine: Engine) -> None:
        """Time each statement of an engine from now on, those that fail too."""

        @event.listens_for(engine, "before_cursor_execute")
        def before(connection: Connection, *_: Any) -> None:
            connection.info["cellway_started"] = time.perf_counter()

        @event.listens_for(engine, "after_cursor_execute")
        def after(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
            self._ended(connection.info, query_name(statement))

        @event.listens_for(engine, "handle_error")
        def failed(context: ExceptionContext) -> None:
            # Without a statement, it was a connection that could not be made.
            connection, statement = context.connection, context.statement
            if connection is None or statement is None:
                return
            if not connection.closed and not connection.invalidated:
                self._ended(connection.info, query_name(statement))

    def observe_commits(self, engine: Engine) -> None:
        """Time each commit of an engine from now on, until its connection is given back."""

        @event.listens_for(engine, "commit")
        def begun(connection: Connection) -> None:
            connection.info["cellway_started"] = time.perf_counter()

        @event.listens_for(engine.pool, "checkin")
        def ended(_: Any, entry: ConnectionPoolEntry) -> None:
            self._ended(entry.info, "commit")

    def _ended(self, info: MutableMapping[Any, Any], query: str) -> None:
        started = info.pop("cellway_started", None)
        if started is not None:
            self._seconds.labels(query).observe(time.perf_counter() - started)


def query_name(statement: str) -> str:
    """Return the verb and the first table of a statement, or "commit"."""
    verb = statement.lstrip()[:6].upper()
    if verb == "COMMIT":
        return "commit"
    table = _TABLE.search(statement)
    return f"{verb.lower()} {table[1].lower()}" if verb in _VERBS and table else "other"
