"""Backs a SQLite database up while it is in use, and puts a backup in its place.

Revisions must never go back: a node or a reader that has seen a higher revision would take newer
state for old. So what is restored takes a revision above all that are known to have been in use,
and readers of the change feed start anew. For PostgreSQL, whose own tools back up and restore,
`advance` does that part.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sqlalchemy import update

from control_plane.topology.claims import epochs
from control_plane.topology.storage import schema
from control_plane.topology.storage.driver_errors import translated_errors
from control_plane.topology.storage.engines import dialect_for
from control_plane.topology.storage.store import Store
from control_plane.topology.storage.transaction import Transaction
from control_plane.topology.values.errors import (
    AlreadyExists,
    DatabaseFailed,
    Invalid,
    NotFound,
    Problem,
    Refused,
    TopologyError,
)

PAGES_AT_ONCE = 4096
"""Pages (of 4 KiB) that are copied at a time. Writers get in between."""
_SLEEP_S = 0.01


@translated_errors
def back_up(url: str, target: Path, progress: Callable[[int, int], None] | None = None) -> int:
    """Copy the database to a new file, as of one moment, and check the copy.

    Writers go on meanwhile.

    Args:
        url: the database's URL.
        target: the file to write.
        progress: is called with the number of pages that are copied, and of all pages.

    Returns:
        The revision that the copy holds.

    Raises:
        Invalid: the database is not SQLite.
        NotFound: there is no such database.
        AlreadyExists: the target exists.
    """
    source = _file_of(url)
    if not source.exists():
        raise NotFound("database", str(source))
    if target.exists():
        raise AlreadyExists("backup", ((str(target), "an earlier backup"),))
    unfinished = target.with_name(f"{target.name}.unfinished")
    unfinished.unlink(missing_ok=True)

    def report(_: int, remaining: int, total: int) -> None:
        if progress is not None:
            progress(total - remaining, total)

    with closing(_connect(source)) as old, closing(_connect(unfinished)) as new:
        old.backup(new, pages=PAGES_AT_ONCE, progress=report, sleep=_SLEEP_S)
        # The backup is one file, without a log of its own beside it.
        new.execute("PRAGMA journal_mode=DELETE")
        revision = _check(new, unfinished)
    _flush(unfinished)
    unfinished.rename(target)
    return revision


@translated_errors
def restore(url: str, backup: Path) -> int:
    """Put a backup in the database's place. Stop every control plane first.

    Sequences may need confirming afterwards (see `mark_file`). The database that was there is kept
    beside it, with ``.replaced`` after its name.

    Returns:
        The revision from which the restored database goes on.

    Raises:
        Invalid: the database is not SQLite, or the backup is damaged.
        NotFound: there is no such backup.
        Refused: the database is in use, or an earlier replaced database is still there.
    """
    target = _file_of(url)
    if not backup.exists():
        raise NotFound("backup", str(backup))
    with closing(_connect(backup)) as connection:
        revision = _check(connection, backup)
    replaced = target.with_name(f"{target.name}.replaced")
    if replaced.exists():
        raise Refused(f"restoring {target}", f"{replaced} is there; move it away first")
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f"{target.name}.restoring")
    new.unlink(missing_ok=True)
    in_use = _set_aside(target, replaced)
    revision = max(revision, in_use) + 1
    with closing(_connect(backup)) as old, closing(_connect(new)) as restored:
        old.backup(restored)
        restored.execute(
            "UPDATE revisions SET revision = ?, edge_revision = ?, oldest_change = ?",
            (revision, revision, revision),
        )
        if replaced.exists():
            _keep_cell_ids(restored, replaced)
    _flush(new)
    new.rename(target)
    return revision


def advance(store: Store, above: int) -> int:
    """Take a revision above one that was in use, after a restore by the database's own tools.

    Returns:
        The new revision.

    Raises:
        Invalid: ``above`` is no revision.
    """
    if not 0 <= above < 2**62:
        raise Invalid(Problem("above", "out of range", "a revision that was in use"))

    def work(tx: Transaction) -> int:
        new = max(tx.revision, above + 1)
        values = {"revision": new, "edge_revision": new, "oldest_change": new}
        tx.connection.execute(update(schema.revisions).values(**values))
        tx.revision = new
        # Caches may hold answers of revisions that are lost: these answers must not count.
        epochs.restored(tx)
        return new

    return store.write("restore", work)[0]


def _file_of(url: str) -> Path:
    file = dialect_for(url).file
    if file is None:
        hint = "use pg_dump and pg_restore for PostgreSQL"
        raise Invalid(Problem("database_url", "is no SQLite file", hint))
    return file


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, autocommit=True, timeout=1)


def _flush(path: Path) -> None:
    """Flush a file to disk, before it gets its final name."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _set_aside(target: Path, replaced: Path) -> int:
    """Move a database away with all that is in its log; return its revision, 0 if there is none."""
    if not target.exists():
        return 0
    with closing(_connect(target)) as connection:
        revision = _revision_if_readable(connection)
        try:
            with translated_errors:
                # Leaving WAL mode needs exclusive access, and moves the log into the database.
                mode = connection.execute("PRAGMA journal_mode=DELETE").fetchone()[0]
        except TopologyError as error:
            mode = str(error.__cause__)
        if mode != "delete":
            why = f"it is in use ({mode}); stop every control plane first"
            raise Refused(f"restoring {target}", why)
    target.rename(replaced)
    return revision


def _keep_cell_ids(restored: sqlite3.Connection, replaced: Path) -> None:
    """Copy the cell ids that the replaced database has given: no other cell may get them."""
    restored.execute("ATTACH ? AS replaced", (str(replaced),))
    try:
        for side in ("main", "replaced"):
            query = f"SELECT 1 FROM {side}.sqlite_master WHERE name = 'cell_ids'"  # noqa: S608 - no text from outside
            if restored.execute(query).fetchone() is None:
                # It is of an earlier version, so the mark file has to do.
                return
        restored.execute("INSERT OR IGNORE INTO main.cell_ids SELECT * FROM replaced.cell_ids")
    finally:
        restored.execute("DETACH replaced")


def _revision_if_readable(connection: sqlite3.Connection) -> int:
    """Return a database's revision, 0 where it can't be read: it may be damaged."""
    try:
        with translated_errors:
            return int(connection.execute("SELECT revision FROM revisions").fetchone()[0])
    except TopologyError:
        return 0


def _check(connection: sqlite3.Connection, path: Path) -> int:
    """Check a database as a whole, and return its revision; raise `Invalid` if it is damaged."""
    try:
        with translated_errors:
            verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
            row = connection.execute("SELECT revision FROM revisions").fetchone()
    except DatabaseFailed as error:
        raise Invalid(Problem(str(path), f"damaged: {error.why}", "use another backup")) from error
    if verdict != "ok":
        raise Invalid(Problem(str(path), f"damaged: {verdict}", "use another backup"))
    return int(row[0])
