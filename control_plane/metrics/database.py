"""Times the statements that SQLAlchemy runs, by verb and table, and shows the database's state."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry
from sqlalchemy import Connection, Engine, event

from control_plane.metrics.catalogue import gauge, histogram

_TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE)\s+\"?([a-z_]{1,40})", re.IGNORECASE)
_VERBS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})


class DatabaseMetrics:
    """``cellway_db_seconds{query}``, from whichever thread runs a statement, and two gauges.

    The label is a verb and a table ("select claims") or "other": there are as many values as
    tables, whatever the statements. The classifier's look-up of claims is not among them, because
    it runs on the driver's own cursor; ``cellway_classify_seconds`` contains it.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = histogram(registry, "cellway_db_seconds", "query")
        self._writable = gauge(registry, "cellway_database_writable")
        self._log_bytes = gauge(registry, "cellway_db_log_bytes")

    def watch(self, *, writable: Callable[[], bool], log_bytes: Callable[[], int | None]) -> None:
        """Show from now on what these functions return at the moment of a scrape."""
        self._writable.set_function(lambda: float(writable()))
        self._log_bytes.set_function(lambda: float(log_bytes() or 0))

    def observe(self, engine: Engine) -> None:
        """Time each statement of an engine from now on."""

        @event.listens_for(engine, "before_cursor_execute")
        def before(connection: Connection, *_: Any) -> None:
            connection.info["cellway_started"] = time.perf_counter()

        @event.listens_for(engine, "after_cursor_execute")
        def after(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
            started = connection.info.get("cellway_started")
            if started is not None:
                seconds = time.perf_counter() - started
                self._seconds.labels(query_name(statement)).observe(seconds)


def query_name(statement: str) -> str:
    """Return the verb and the first table of a statement."""
    verb = statement.lstrip()[:6].upper()
    table = _TABLE.search(statement)
    return f"{verb.lower()} {table[1].lower()}" if verb in _VERBS and table else "other"
