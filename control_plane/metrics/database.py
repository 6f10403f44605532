"""Times the statements that SQLAlchemy runs, by verb and table."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine, event

_TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE)\s+\"?([a-z_]{1,40})", re.IGNORECASE)
_VERBS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})


def observe_queries(engine: Engine, observe: Callable[[str, float], None]) -> None:
    """Call ``observe(query, seconds)`` after each statement; may come from any thread.

    ``query`` is a verb and a table ("select claims") or "other": as many values as there are
    tables, whatever the statements. The classifier's hot look-up is not among them; it runs on the
    driver's own cursor and is part of ``cellway_classify_seconds``.
    """

    @event.listens_for(engine, "before_cursor_execute")
    def before(connection: Connection, *_: Any) -> None:
        connection.info["cellway_started"] = time.perf_counter()

    @event.listens_for(engine, "after_cursor_execute")
    def after(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        started = connection.info.get("cellway_started")
        if started is not None:
            observe(query_name(statement), time.perf_counter() - started)


def query_name(statement: str) -> str:
    """The verb and the first table of a statement."""
    verb = statement.lstrip()[:6].upper()
    table = _TABLE.search(statement)
    return f"{verb.lower()} {table[1].lower()}" if verb in _VERBS and table else "other"
