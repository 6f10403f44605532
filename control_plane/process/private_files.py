"""Files and directories that only the user who runs us may read, whatever the umask is."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)
FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
PRIVATE_UMASK = 0o077


@contextlib.contextmanager
def only_private_files() -> Iterator[None]:
    """Have all that this process and its children make be its user's alone, within the block."""
    before = os.umask(PRIVATE_UMASK)
    try:
        yield
    finally:
        os.umask(before)


def private_directory(path: Path) -> None:
    """Make a directory that only its owner may enter; tighten one that exists.

    Raises:
        OSError: It can't be made, it is another user's, or it is no directory.
    """
    path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    found = path.stat()
    if found.st_uid != os.geteuid():
        text = f"{path} belongs to another user (uid {found.st_uid}): choose another directory"
        raise OSError(errno.EPERM, text)
    _tighten(path, found)


def private_file(path: Path) -> None:
    """Make a file that only its owner may read, unless it exists; tighten one that does.

    Raises:
        OSError: It can't be made.
    """
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, FILE_MODE))
    tighten(path)


def tighten(path: Path) -> None:
    """Take the rights of others off a file of ours, and say so. One of other users stays as it is.

    A file that does not exist, or that can't be changed, is left alone: the second is logged.
    """
    try:
        _tighten(path, path.stat())
    except FileNotFoundError:
        return


def _tighten(path: Path, found: os.stat_result) -> None:
    mode = stat.S_IMODE(found.st_mode)
    if not mode & PRIVATE_UMASK:
        return
    try:
        path.chmod(mode & ~PRIVATE_UMASK)
    except OSError as error:
        log.warning("others may read %s (mode %o), which can't be changed: %s", path, mode, error)
    else:
        log.warning("others could read %s (mode %o): now only its owner can", path, mode)
