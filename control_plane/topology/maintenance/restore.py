"""Puts a backup in the place of a SQLite database, in one step.

Whatever ends the restore early (kill -9, a full disk, a power cut), either the old database or the
new one is there, as a whole::

    1  lock          nobody has the database open, and nobody can open it from here on
    2  make          the copy, FILE.restoring, gets its revision and cell ids, is checked and
                     flushed to disk
    3  keep          the old database gets a second name, FILE.replaced
    4  swap          FILE.restoring is renamed to FILE
    5  unlock

What is restored takes a revision above all that are known to have been in use, and readers of the
change feed start anew. The log of the old database is emptied in step 1, because SQLite would take
it for the log of whatever file has the database's name.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from control_plane.topology.maintenance import files
from control_plane.topology.maintenance.backup import MAX_LINEAGE
from control_plane.topology.storage import lock_exclusive, translated_errors, trouble_of
from control_plane.topology.values.errors import (
    Contention,
    DatabaseDamaged,
    NotFound,
    Refused,
)

log = logging.getLogger(__name__)
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""What file systems without hard links say."""


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
        DatabaseTrouble: a file can't be written; nothing has changed.
    """
    target = files.file_of(url)
    if not backup.exists():
        raise NotFound("backup", str(backup))
    with closing(files.connect(backup)) as connection:
        files.check(connection, backup)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = lock_exclusive(target, f"restoring {target}")
        try:
            return _restore(target, backup)
        finally:
            lock.release()
    except OSError as error:
        raise trouble_of(error, target) from error


def _restore(target: Path, backup: Path) -> int:
    """Make the copy and swap it in, under the lock."""
    new = _beside(target, ".restoring")
    replaced = _beside(target, ".replaced")
    if replaced.exists():
        if not (target.exists() and target.samefile(replaced)):
            raise Refused(f"restoring {target}", f"{replaced} is there; move it away first")
        # A restore was broken off just before its swap.
        replaced.unlink()
    try:
        files.remove(new)
        with _old_database(target) as old:
            revision = _make(new, backup, old)
            _keep(target, replaced)
            new.rename(target)
            files.flush(target.absolute().parent)
    finally:
        files.remove(new)
    return revision


@contextmanager
def _old_database(target: Path) -> Iterator[sqlite3.Connection | None]:
    """Yield the old database, which nobody else can use meanwhile; None if it can't be read."""
    if not target.exists():
        yield None
        return
    with closing(files.connect(target)) as connection:
        try:
            with translated_errors:
                # Leaving WAL mode needs exclusive access, and moves the log into the database.
                connection.execute("PRAGMA journal_mode=DELETE").fetchone()
                connection.execute("BEGIN EXCLUSIVE")
        except DatabaseDamaged as error:
            log.warning("the database that is replaced can't be read: %s", error)
            yield None
            return
        except Contention as error:
            why = f"it is in use ({error.__cause__}); stop every control plane first"
            raise Refused(f"restoring {target}", why) from error
        yield connection


def _make(new: Path, backup: Path, old: sqlite3.Connection | None) -> int:
    """Make what is to be the database, on disk; return its revision."""
    with (
        closing(files.connect(backup)) as source,
        closing(files.connect(new, make=True)) as restored,
    ):
        source.backup(restored)
        restored.execute("PRAGMA journal_mode=DELETE")
        used = 0 if old is None else files.revision_if_readable(old)
        revision = max(files.check(restored, backup), used) + 1
        restored.execute(
            "UPDATE revisions SET revision = ?, edge_revision = ?, oldest_change = ?",
            (revision, revision, revision),
        )
        _renew_owners_table(restored)
        if old is not None:
            _keep_cell_ids(restored, old)
        files.check(restored, new)
    files.flush(new)
    return revision


def _renew_owners_table(restored: sqlite3.Connection) -> None:
    """Have edges read all owners anew; a backup without the table gets one by its migration."""
    there = "SELECT 1 FROM sqlite_master WHERE name = 'owners_table'"
    if restored.execute(there).fetchone() is not None:
        lineage = 1 + secrets.randbelow(MAX_LINEAGE)
        restored.execute("UPDATE owners_table SET lineage = ?", (lineage,))


def _keep_cell_ids(restored: sqlite3.Connection, old: sqlite3.Connection) -> None:
    """Copy the cell ids that the old database has given: no other cell may get them."""
    there = "SELECT 1 FROM sqlite_master WHERE name = 'cell_ids'"
    try:
        with translated_errors:
            if any(one.execute(there).fetchone() is None for one in (restored, old)):
                # It is of an earlier version, so the mark file has to do.
                return
            rows = old.execute("SELECT id, cell, given_at, deleted_at FROM cell_ids").fetchall()
    except DatabaseDamaged as error:
        log.warning("the cell ids of the replaced database can't be read: %s", error)
        return
    restored.executemany(
        "INSERT OR IGNORE INTO cell_ids (id, cell, given_at, deleted_at) VALUES (?, ?, ?, ?)", rows
    )


def _keep(target: Path, replaced: Path) -> None:
    """Give the old database its second name, and leave nothing that SQLite would read as a log.

    A database that could be read has none any more. The logs of one that is gone or damaged are
    kept for whoever wants to save something of it.
    """
    for end in files.SIDE_FILES:
        side = _beside(target, end)
        if side.exists():
            side.replace(_beside(replaced, end))
    if not target.exists():
        return
    try:
        os.link(target, replaced)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        copy = _beside(replaced, ".unfinished")
        shutil.copyfile(target, copy)
        files.flush(copy)
        copy.rename(replaced)


def _beside(path: Path, end: str) -> Path:
    return path.with_name(f"{path.name}{end}")
