"""Keeps programs from opening an SQLite file while a restore replaces it, and the reverse.

SQLite's own locks belong to the file and not to its name. A program that opened the old file would
go on with it after a restore has put another one in its place, and both would share one log, which
ruins them. So whoever opens a database holds a lock on a file beside it, ``FILE.lock``: a shared
one for as long as the database is open, or an exclusive one for a restore. The kernel gives it up
when the process dies. The lock file stays; it is empty.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path
from typing import Final

from control_plane.topology.storage.driver_errors import trouble_of
from control_plane.topology.values.errors import Refused, Unavailable

RESTORE_WAIT_S: Final = 10.0
"""How long a program that starts waits for a restore."""
_PAUSE_S = 0.05
_UNWRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT})


class FileLock:
    """A lock on one database file, held until `release`."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    @property
    def held(self) -> bool:
        """Whether there is a lock."""
        return self._descriptor is not None

    def release(self) -> None:
        """Give the lock up."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def lock_shared(database: Path, *, make: bool) -> FileLock:
    """Hold a database open; with ``make``, make the lock file where there is none.

    Where it can't be made, as in a directory that may not be written, there is no restore either.

    Raises:
        Unavailable: a restore is under way, and has not ended within `RESTORE_WAIT_S`.
    """
    path = lock_path(database)
    try:
        if make:
            path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (os.O_CREAT if make else 0), 0o600)
    except OSError as error:
        if error.errno in _UNWRITABLE:
            return FileLock(None)
        raise trouble_of(error, path) from error
    deadline = time.monotonic() + RESTORE_WAIT_S
    while not _locked(descriptor, fcntl.LOCK_SH):
        if time.monotonic() > deadline:
            os.close(descriptor)
            raise Unavailable(f"a restore of {database} is under way; start again after it")
        time.sleep(_PAUSE_S)
    return FileLock(descriptor)


def lock_exclusive(database: Path, what: str) -> FileLock:
    """Keep everybody from opening a database.

    Raises:
        Refused: somebody has it open. ``what`` names what is refused then.
        DatabaseTrouble: the lock file can't be made.
    """
    path = lock_path(database)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise trouble_of(error, path) from error
    if not _locked(descriptor, fcntl.LOCK_EX):
        os.close(descriptor)
        raise Refused(what, "the database is in use; stop every control plane first")
    return FileLock(descriptor)


def lock_path(database: Path) -> Path:
    """Return the lock file of a database file."""
    return database.with_name(f"{database.name}.lock")


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
