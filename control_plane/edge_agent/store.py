"""The directory of an agent's snapshots: replaced atomically, a newer never by an older one."""

from __future__ import annotations

import fcntl
import logging
import os
import re
from pathlib import Path

from control_plane.edge_agent.saved_snapshot import (
    MAX_HEADER_BYTES,
    BadSnapshot,
    SavedSnapshot,
    decode,
    encode,
)
from control_plane.process.private_files import private_directory

log = logging.getLogger(__name__)
GOOD_FILES = 3
"""Good snapshots that stay on disk."""
MAX_BYTES = 256 << 20
_NAME = re.compile(r"([0-9]{20})-([0-9]{6,})\.snapshot\Z")
"""Revision and serial number: one revision may be saved more than once."""
_UNFINISHED = ".new"


class OlderRevision(Exception):
    """A snapshot is older than the one that is on disk, or than what Envoy has had."""


class DirectoryTaken(OSError):
    """Another agent uses this directory."""


class SnapshotStore:
    """The snapshots of one Envoy, in a directory of their own. For one thread at a time.

    Raises:
        DirectoryTaken: Another agent runs on the directory.
        OSError: The directory can't be made or locked.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        private_directory(directory)
        self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise DirectoryTaken(error.errno, f"another agent uses {directory}") from error
        self.newest: SavedSnapshot | None = None
        """The newest good snapshot on disk, once `load` or `save` has been called."""
        self.bad: dict[Path, str] = {}
        """The files that `load` passed over, and why."""

    def close(self) -> None:
        """Unlock the directory."""
        os.close(self._lock)

    def load(self) -> SavedSnapshot | None:
        """Return the newest good snapshot. Bad ones are logged, noted in `bad` and passed over."""
        self.newest = None
        self.bad.clear()
        for path in self._paths():
            try:
                self.newest = decode(_read(path))
            except (BadSnapshot, OSError) as error:
                self.bad[path] = str(error)
                log.error("%s can't be used: %s; going back to the one before", path, error)  # noqa: TRY400
                continue
            break
        return self.newest

    def save(self, saved: SavedSnapshot) -> Path:
        """Write a snapshot, and remove all but the newest `GOOD_FILES`.

        Returns:
            Its file, which is safely on disk.

        Raises:
            OlderRevision: A newer one is on disk.
            OSError: It can't be written; what was on disk still is.
        """
        if self.newest is not None and saved.revision < self.newest.revision:
            raise OlderRevision(
                f"revision {saved.revision} is older than {self.newest.revision}, which is kept"
            )
        paths = self._paths()
        serial = 1 + max((int(_numbers(path)[1]) for path in paths), default=0)
        path = self._directory / f"{saved.revision:020}-{serial:06}.snapshot"
        self._write(path, encode(saved))
        self.newest = saved
        self._remove_old([path, *paths])
        return path

    def _write(self, path: Path, content: bytes) -> None:
        if len(content) > MAX_BYTES:
            raise OSError(f"the snapshot has {len(content)} bytes; at most {MAX_BYTES} are kept")
        unfinished = path.with_name(path.name + _UNFINISHED)
        try:
            descriptor = os.open(
                unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600
            )
            with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        _sync_directory(self._directory)

    def _remove_old(self, paths: list[Path]) -> None:
        """Remove old and bad files, and those that a crash has left unfinished."""
        good = [path for path in paths if path not in self.bad]
        old = [*good[GOOD_FILES:], *self.bad, *self._directory.glob(f"*{_UNFINISHED}")]
        for path in old:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                log.error("an old snapshot can't be removed: %s", error)  # noqa: TRY400
        self.bad.clear()

    def _paths(self) -> list[Path]:
        """Return the finished files, the newest first."""
        paths = [path for path in self._directory.iterdir() if _NAME.match(path.name)]
        return sorted(paths, key=_numbers, reverse=True)


def _numbers(path: Path) -> tuple[int, int]:
    """Return the revision and the serial number in a file's name."""
    match = _NAME.match(path.name)
    assert match is not None
    return int(match[1]), int(match[2])


def _read(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MAX_BYTES + MAX_HEADER_BYTES:
        raise BadSnapshot(f"it has {size} bytes")
    return path.read_bytes()


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
