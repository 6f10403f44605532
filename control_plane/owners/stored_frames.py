"""Frames that lie in a file and are read when they are needed.

A table of ten million names has 120 MB of frames, which are read a few times a day; so an agent
keeps them on disk. What the disk does not take stays in memory: a full disk harms no reader.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import overload

from control_plane.owners.frames import HEADER_BYTES, BadFrame, decode

BEGIN_BYTES = HEADER_BYTES + 16
"""The length of a BEGIN frame, the first of a file."""
MAX_BASE_BYTES = 1536 << 20
"""Of a base: 125 million names."""
_MODE = 0o600

Place = tuple[int, int] | bytes
"""Offset and length in the file, or the frame itself."""


class DamagedFile(OSError):
    """A frame can't be read as it was written."""


class OpenFile:
    """A file that stays open, and readable after its removal, for as long as somebody uses it."""

    def __init__(self, path: Path, flags: int) -> None:
        """Open a file.

        Raises:
            OSError: It can't be opened.
        """
        self.descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOCTTY, _MODE)
        weakref.finalize(self, os.close, self.descriptor)

    def write(self, data: bytes, offset: int) -> None:
        """Write all of ``data``.

        Raises:
            OSError: It can't be written; some of it may be.
        """
        view = memoryview(data)
        while view:
            written = os.pwrite(self.descriptor, view, offset)
            view, offset = view[written:], offset + written

    def read(self, offset: int, length: int) -> bytes:
        """Return what lies there; less at the file's end."""
        return os.pread(self.descriptor, length, offset)


class StoredFrames(Sequence[bytes]):
    """Frames in a file, or partly in memory. A slice reads nothing yet."""

    def __init__(self, file: OpenFile | None, places: Sequence[Place]) -> None:
        self._file = file
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> StoredFrames: ...
    def __getitem__(self, index: int | slice) -> bytes | StoredFrames:
        """Return a frame, or some that are not read yet.

        Raises:
            DamagedFile: The file does not hold the frame any more.
        """
        if isinstance(index, slice):
            return StoredFrames(self._file, self._places[index])
        place = self._places[index]
        if isinstance(place, bytes):
            return place
        assert self._file is not None
        data = self._file.read(*place)
        try:
            decode(data)
        except BadFrame as error:
            raise DamagedFile(f"a frame on disk is damaged: {error}") from error
        return data


class Spool:
    """A base that is being written beside the file that it will replace. For one thread at a time.

    If the disk does not take it, its frames are in memory, and `error` says why.
    """

    def __init__(self, path: Path, suffix: str) -> None:
        """Begin; a disk that does not take the file is no error here.

        Args:
            path: The file that `commit` replaces.
            suffix: Of the name of the file beside it.
        """
        self._path = path
        self._unfinished = path.with_name(path.name + suffix)
        self._places: list[Place] = []
        self.end = BEGIN_BYTES
        """The length of the file."""
        self.names = 0
        self.error: OSError | None = None
        self._file: OpenFile | None = None
        try:
            self._file = OpenFile(self._unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        except OSError as error:
            self.error = error

    def add(self, data: bytes, names: int) -> None:
        """Add a BASE frame of so many names.

        Raises:
            BadFrame: The base is larger than any that is accepted.
            OSError: The disk is full, and does not give back what it took.
        """
        if self.end + len(data) > MAX_BASE_BYTES:
            raise BadFrame(f"the base has over {MAX_BASE_BYTES} bytes")
        place: Place = data
        if self._file is not None:
            try:
                self._file.write(data, self.end)
                place = (self.end, len(data))
            except OSError as error:
                self._to_memory(error)
        self._places.append(place)
        self.end += len(data)
        self.names += names

    def commit(self, begin: bytes) -> OpenFile | None:
        """Put the base in its place on disk.

        Args:
            begin: The BEGIN frame.

        Returns:
            The file, which is safely on disk; None if it is not. Then the file that was to be
            replaced is still there.

        Raises:
            OSError: The disk is full, and does not give back what it took.
        """
        if self._file is None:
            return None
        try:
            self._file.write(begin, 0)
            os.fsync(self._file.descriptor)
            self._unfinished.replace(self._path)
            _sync_directory(self._path.parent)
        except OSError as error:
            self._to_memory(error)
        return self._file

    def _to_memory(self, error: OSError) -> None:
        """Give the disk its space back."""
        self.error = error
        self._places = list(self.frames)
        self.discard()
        self._file = None

    def discard(self) -> None:
        """Remove the unfinished file."""
        self._unfinished.unlink(missing_ok=True)

    @property
    def frames(self) -> StoredFrames:
        """The frames, on disk or in memory."""
        return StoredFrames(self._file, self._places)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
