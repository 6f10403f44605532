"""Where Unix sockets of ours lie, and what keeps others of this machine out of them.

The kernel takes no longer path for a socket than `MAX_SOCKET_PATH_BYTES`, while a data directory
may lie as deep as an operator likes. `socket_in` then chooses a short directory for the socket.
"""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import stat
import tempfile
from pathlib import Path

from control_plane.process.private_files import private_directory

MAX_SOCKET_PATH_BYTES = 107
"""Linux has room for 108 bytes, of which the last is a NUL."""


def check_path(path: str, setting: str) -> None:
    """Raise an error if a path can't be that of a socket.

    Args:
        path: The path, as it is given to the kernel.
        setting: What to change, for the message.

    Raises:
        OSError: It is too long, is empty, or has a NUL.
    """
    length = len(os.fsencode(path))
    if length > MAX_SOCKET_PATH_BYTES:
        text = f"the socket {path} has {length} bytes in its path, over {MAX_SOCKET_PATH_BYTES}"
        raise OSError(errno.ENAMETOOLONG, f"{text}: choose a shorter one with {setting}")
    if not path or "\0" in path:
        raise OSError(errno.EINVAL, f"{path!r} is no path of a socket: change {setting}")


def socket_in(directory: Path, name: str) -> Path:
    """Return where a socket of this name belongs, in a directory that only its owner may enter.

    That is the directory itself, or one of this user's below the machine's directory for such
    things if the path were too long for the kernel. The directory is made.

    Raises:
        OSError: The directory can't be made, or another user has it.
    """
    path = directory.absolute() / name
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        private_directory(path.parent)
        return path
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    digest = hashlib.sha256(os.fsencode(path.parent)).hexdigest()
    short = Path(base) / f"cellway-{os.geteuid()}-{digest[:16]}" / name
    private_directory(short.parent)
    check_path(str(short), "XDG_RUNTIME_DIR")
    return short


def check_unused(path: Path, setting: str) -> None:
    """Raise an error if a program serves a socket, or if the path is that of something else.

    Raises:
        OSError: The text says what to change.
    """
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise OSError(errno.EEXIST, f"{path} exists and is no socket: choose another {setting}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            return
    text = f"another program serves {path}: end it, or choose another {setting}"
    raise OSError(errno.EADDRINUSE, text)
