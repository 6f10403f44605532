"""The hot look-up: who owns a claim, straight on the driver's cursor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, bindparam, select

from control_plane.topology import schema
from control_plane.topology.errors import Invalid
from control_plane.topology.normalise import normalise


def owner_statement(engine: Engine) -> str:
    """SQL text of the owner look-up in the driver's own parameter style, in the order of keys."""
    table = schema.claims
    query = select(table.c.cell_id).where(
        table.c.bucket == bindparam("bucket"), table.c.value == bindparam("value")
    )
    return str(query.compile(engine))


class ClaimLookup:
    """Looks owners up over a connection of its own. Not thread-safe: one per event loop.

    SQLAlchemy compiles the statement once; each look-up is one execute on the DBAPI cursor.
    """

    def __init__(self, engine: Engine) -> None:
        self._statement = owner_statement(engine)
        self._edge_statement = str(select(schema.revisions.c.edge_revision).compile(engine))
        self._checked_out = engine.raw_connection()
        connection: Any = self._checked_out.dbapi_connection
        self._cursor = connection.cursor()
        self._seen_version = self._data_version()

    def close(self) -> None:
        """Give the connection back."""
        self._cursor.close()
        self._checked_out.close()

    def owners(self, keys: Sequence[tuple[str, str]]) -> list[int | None]:
        """The owning cell's id of each key, in order; None where nobody owns it."""
        found: list[int | None] = []
        for bucket, value in keys:
            try:
                normal = normalise(bucket, value)
            except Invalid:
                # What can't be claimed belongs to nobody.
                found.append(None)
                continue
            row = self._cursor.execute(self._statement, (bucket, normal)).fetchone()
            found.append(None if row is None else row[0])
        return found

    def edge_revision(self) -> int:
        """The revision of the last change to a cell or the active ruleset."""
        return int(self._cursor.execute(self._edge_statement).fetchone()[0])

    def changed(self) -> bool:
        """Whether anything was committed, by any process, since the last call (SQLite)."""
        version = self._data_version()
        changed = version != self._seen_version
        self._seen_version = version
        return changed

    def _data_version(self) -> int:
        return int(self._cursor.execute("PRAGMA data_version").fetchone()[0])
