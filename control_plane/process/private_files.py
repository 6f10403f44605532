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
        OSError: It can't be made, it is no directory, or it is another user's (which root may use).
    """
    path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    owner = path.stat().st_uid
    if owner != os.geteuid() != 0:
        text = f"{path} belongs to another user (uid {owner}): choose another directory"
        raise OSError(errno.EPERM, text)
    tighten(path)


def data_directory(path: Path) -> None:
    """Make a directory that only its owner may enter, and warn about one that others may enter.

    It may be one that the operator shares on purpose, so its mode stays as it is.

    Raises:
        OSError: It can't be made.
    """
    try:
        path.mkdir(mode=DIRECTORY_MODE, parents=True)
    except FileExistsError:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & PRIVATE_UMASK:
            log.warning("others may enter %s (mode %o): chmod 700 it", path, mode)


def private_file(path: Path) -> None:
    """Make a file that only its owner may read, unless it exists; tighten one that does.

    Raises:
        OSError: It can't be made.
    """
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, FILE_MODE))
    tighten(path)


def tighten(path: Path) -> None:
    """Take the rights of others off a file or directory, and say so.

    What does not exist is left out, and so is a device or a socket: a path such as /dev/null may
    be given in the place of a file. What can't be changed is only logged.
    """
    try:
        whole = path.stat().st_mode
        mode = stat.S_IMODE(whole)
        if not mode & PRIVATE_UMASK or not (stat.S_ISREG(whole) or stat.S_ISDIR(whole)):
            return
        path.chmod(mode & ~PRIVATE_UMASK)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("others may read %s, and its mode can't be changed: %s", path, error)
    else:
        log.warning("others could read %s (mode %o): now only its owner can", path, mode)
