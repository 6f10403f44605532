"""What backing up and restoring an SQLite database have in common."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from control_plane.topology.storage import dialect_for, newest_schema, translated_errors
from control_plane.topology.values.errors import DatabaseFailed, Invalid, Problem, TopologyError

SIDE_FILES = ("-wal", "-shm", "-journal")
"""What SQLite may have beside a database, by the end of the name."""


def file_of(url: str) -> Path:
    """Return the file of a database; raise `Invalid` if it isn't one of SQLite."""
    file = dialect_for(url).file
    if file is None:
        hint = "use pg_dump and pg_restore for PostgreSQL"
        raise Invalid(Problem("database_url", "is no SQLite file", hint))
    return file


def connect(path: Path, *, make: bool = False) -> sqlite3.Connection:
    """Open a database file; with ``make``, make it where there is none."""
    uri = f"{path.absolute().as_uri()}?mode={'rwc' if make else 'rw'}"
    return sqlite3.connect(uri, uri=True, autocommit=True, timeout=1)


def flush(path: Path) -> None:
    """Flush a file to disk, or the names in a directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a database that is not finished, with what SQLite has beside it."""
    for end in (*SIDE_FILES, ""):
        path.with_name(f"{path.name}{end}").unlink(missing_ok=True)


def check(connection: sqlite3.Connection, path: Path) -> int:
    """Check a database as a whole, and return its revision.

    Raises:
        Invalid: it is damaged, no database of ours, or of a newer version of this program.
    """
    try:
        with translated_errors:
            verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
            row = connection.execute("SELECT revision FROM revisions").fetchone()
            schema = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except DatabaseFailed as error:
        raise _unusable(path, f"damaged: {error.why}") from error
    if verdict != "ok":
        raise _unusable(path, f"damaged: {verdict}")
    if row is None or schema is None:
        raise _unusable(path, "damaged: it has no revision")
    newest, known = newest_schema()
    if schema[0] not in known:
        why = f"of a newer version of cellway: it has schema {schema[0]}, this knows {newest}"
        raise _unusable(path, why)
    return int(row[0])


def revision_if_readable(connection: sqlite3.Connection) -> int:
    """Return a database's revision, 0 where it can't be read: it may be damaged."""
    try:
        with translated_errors:
            row = connection.execute("SELECT revision FROM revisions").fetchone()
            return 0 if row is None else int(row[0])
    except TopologyError:
        return 0


def _unusable(path: Path, why: str) -> Invalid:
    return Invalid(Problem(str(path), why, "use another backup"))
