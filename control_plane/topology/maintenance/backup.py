"""Backs a SQLite database up while it is in use, and puts a backup in its place."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sqlalchemy import update

from control_plane.topology.claims import epochs
from control_plane.topology.storage import schema
from control_plane.topology.storage.engines import parse_url
from control_plane.topology.storage.store import Store
from control_plane.topology.storage.transaction import Transaction
from control_plane.topology.values.errors import AlreadyExists, Invalid, NotFound, Problem, Refused

PAGES_AT_ONCE = 4096
"""Pages (of 4 KiB) copied at a time; writers get in between."""
_SLEEP_S = 0.01


def _file(url: str) -> Path:
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        mend = "use pg_dump and pg_restore for PostgreSQL"
        raise Invalid(Problem("database_url", "is no file of SQLite", mend))
    return Path(parsed.database)


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, autocommit=True, timeout=1)


def back_up(url: str, target: Path, progress: Callable[[int, int], None] | None = None) -> int:
    """Copy the database to a new file, as of one moment, and check it; the revision it holds.

    Writers go on meanwhile. ``progress`` gets (pages done, pages of all).

    Raises:
        Invalid: not SQLite.
        NotFound: there is no such database.
        AlreadyExists: there is such a file already.
    """
    source = _file(url)
    if not source.exists():
        raise NotFound("database", str(source))
    if target.exists():
        raise AlreadyExists("backup", ((str(target), "an earlier backup"),))
    unfinished = target.with_name(f"{target.name}.unfinished")
    unfinished.unlink(missing_ok=True)

    def told(_: int, remaining: int, total: int) -> None:
        if progress is not None:
            progress(total - remaining, total)

    with closing(_connect(source)) as old, closing(_connect(unfinished)) as new:
        old.backup(new, pages=PAGES_AT_ONCE, progress=told, sleep=_SLEEP_S)
        # One file, without a log of its own beside it.
        new.execute("PRAGMA journal_mode=DELETE")
        revision = _checked(new, unfinished)
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.rename(target)
    return revision


def restore(url: str, backup: Path) -> int:
    """Put a backup in the database's place; the revision that it goes on from.

    Stop every control plane first. Revisions never go back: what is restored takes a revision
    above that of the database that it replaces, and readers of the change feed start anew.
    Sequences may need confirming (see the mark file). The replaced database is kept beside it,
    with ``.replaced`` after its name.

    Raises:
        Invalid: not SQLite, or the backup is damaged.
        NotFound: there is no such backup.
        Refused: an earlier replaced database is still there.
    """
    target = _file(url)
    if not backup.exists():
        raise NotFound("backup", str(backup))
    with closing(_connect(backup)) as connection:
        revision = _checked(connection, backup)
    replaced = target.with_name(f"{target.name}.replaced")
    if replaced.exists():
        raise Refused(f"restoring {target}", f"{replaced} is there; move it away first")
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f"{target.name}.restoring")
    new.unlink(missing_ok=True)
    known = _set_aside(target, replaced)
    with closing(_connect(backup)) as old, closing(_connect(new)) as made:
        old.backup(made)
        revision = max(revision, known) + 1
        made.execute("UPDATE revisions SET revision = ?, edge_revision = ?", (revision, revision))
        made.execute("UPDATE revisions SET oldest_change = ?", (revision,))
        if replaced.exists():
            _keep_cell_ids(made, replaced)
    with new.open("rb") as file:
        os.fsync(file.fileno())
    new.rename(target)
    return revision


def advance(store: Store, above: int) -> int:
    """After a restore by the database's own means: take a revision above one; the new revision.

    Revisions must never go back: nodes and readers that have seen a higher one would take what is
    newer for old. Readers of the change feed start anew.

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
        # What caches have seen of the revisions that are gone must not outlive them.
        epochs.restored(tx)
        return new

    return store.write("restore", work)[0]


def _set_aside(target: Path, replaced: Path) -> int:
    """Move a database away with all it has in its log; its revision, 0 where there is none."""
    if not target.exists():
        return 0
    with closing(_connect(target)) as connection:
        known = _revision(connection)
        try:
            # Leaving WAL needs the database for oneself, and empties the log into it.
            mode = connection.execute("PRAGMA journal_mode=DELETE").fetchone()[0]
        except sqlite3.OperationalError as error:
            mode = str(error)
        if mode != "delete":
            why = f"it is in use ({mode}); stop every control plane first"
            raise Refused(f"restoring {target}", why)
    target.rename(replaced)
    return known


def _keep_cell_ids(restored: sqlite3.Connection, replaced: Path) -> None:
    """What cells the replaced database knew: no other gets their ids."""
    restored.execute("ATTACH ? AS replaced", (str(replaced),))
    try:
        for side in ("main", "replaced"):
            known = f"SELECT 1 FROM {side}.sqlite_master WHERE name = 'cell_ids'"  # noqa: S608 - no text from outside
            if restored.execute(known).fetchone() is None:
                # Of an earlier version: the mark file has to do.
                return
        restored.execute("INSERT OR IGNORE INTO main.cell_ids SELECT * FROM replaced.cell_ids")
    finally:
        restored.execute("DETACH replaced")


def _revision(connection: sqlite3.Connection) -> int:
    try:
        row = connection.execute("SELECT revision FROM revisions").fetchone()
    except sqlite3.DatabaseError:
        return 0
    return int(row[0])


def _checked(connection: sqlite3.Connection, path: Path) -> int:
    try:
        found = connection.execute("PRAGMA integrity_check").fetchone()[0]
        row = connection.execute("SELECT revision FROM revisions").fetchone()
    except sqlite3.DatabaseError as error:
        raise Invalid(Problem(str(path), f"damaged: {error}", "use another backup")) from error
    if found != "ok":
        raise Invalid(Problem(str(path), f"damaged: {found}", "use another backup"))
    return int(row[0])
