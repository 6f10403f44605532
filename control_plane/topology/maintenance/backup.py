"""Backs a SQLite database up while it is in use.

`restore` puts a backup in the database's place. For PostgreSQL, whose own tools back up and
restore, `advance` does what is left to do afterwards. Revisions must never go back: a node or a
reader that has seen a higher revision would take newer state for old.
"""

from __future__ import annotations

import errno
import os
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sqlalchemy import update

from control_plane.topology.claims import epochs
from control_plane.topology.maintenance import files
from control_plane.topology.storage import (
    Store,
    Transaction,
    kind_of_sqlite_code,
    schema,
    translated_errors,
    trouble_of,
)
from control_plane.topology.values.errors import (
    AlreadyExists,
    DatabaseFull,
    Invalid,
    NotFound,
    Problem,
)

PAGES_AT_ONCE = 4096
"""Pages (of 4 KiB) that are copied at a time. Writers get in between."""
_SLEEP_S = 0.01
MAX_LINEAGE = 2**63 - 1
"""The largest number of a table of owners; the smallest is 1."""


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
        Invalid: the database is not SQLite, or is damaged.
        NotFound: there is no such database.
        AlreadyExists: the target exists.
        DatabaseTrouble: the target can't be written.
    """
    source = files.file_of(url)
    if not source.exists():
        raise NotFound("database", str(source))
    if target.exists():
        raise AlreadyExists("backup", ((str(target), "an earlier backup"),))
    unfinished = target.with_name(f"{target.name}.unfinished")

    def report(_: int, remaining: int, total: int) -> None:
        if progress is not None:
            progress(total - remaining, total)

    try:
        files.remove(unfinished)
        with (
            closing(files.connect(source)) as old,
            closing(files.connect(unfinished, make=True)) as new,
        ):
            old.backup(new, pages=PAGES_AT_ONCE, progress=report, sleep=_SLEEP_S)
            # The backup is one file, without a log of its own beside it.
            new.execute("PRAGMA journal_mode=DELETE")
            revision = files.check(new, unfinished)
        files.flush(unfinished)
        unfinished.rename(target)
        files.flush(target.absolute().parent)
    except OSError as error:
        raise trouble_of(error, target) from error
    except sqlite3.Error as error:
        if kind_of_sqlite_code(error.sqlite_errorcode) is not DatabaseFull:
            raise
        # It is the copy that finds no room, and not the database.
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise trouble_of(full, target) from error
    finally:
        files.remove(unfinished)
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
        # So must the tables of owners that edges hold.
        lineage = 1 + secrets.randbelow(MAX_LINEAGE)
        tx.connection.execute(update(schema.owners_table).values(lineage=lineage))
        return new

    return store.write("restore", work)[0]
