"""A journal on disk: the frames of the stream one after the other, each with its checksum.

    BEGIN  BASE … BASE (last)  CHANGES CHANGES CHANGES …

A new base is written beside the file and then replaces it (`stored_frames.Spool`). Changes are
added at the end. So a process that is killed, or a machine that loses its power, leaves a file
whose base is whole, and whose last changes may be torn or lacking. `load` drops what is torn: the
table is then that of an earlier revision, which a reader sees by its number.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from control_plane.owners.base import Base
from control_plane.owners.frames import (
    BASE,
    BEGIN,
    CHANGES,
    HEADER_BYTES,
    LAST_OF_BASE,
    BadFrame,
    Frame,
    decode,
    length_of,
)
from control_plane.owners.stored_frames import OpenFile, Place, StoredFrames

_READ_AHEAD = 1 << 20


class BadJournalFile(Exception):
    """A file holds no whole base; the text says why."""


class JournalFile:
    """A file whose base is whole, to which changes are added. For one thread at a time."""

    def __init__(self, file: OpenFile, end: int) -> None:
        self._file = file
        self._end = end

    def append(self, frames: Iterable[bytes]) -> None:
        """Add CHANGES frames; they are safely on disk then.

        Raises:
            OSError: They are not; what was added before still is.
        """
        data = b"".join(frames)
        try:
            self._file.write(data, self._end)
            os.fdatasync(self._file.descriptor)
        except OSError:
            os.ftruncate(self._file.descriptor, self._end)
            raise
        self._end += len(data)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a file holds."""

    base: Base
    changes: list[tuple[bytes, Frame]]
    """CHANGES frames with their bytes, up to one that completes a revision."""
    file: JournalFile
    dropped_bytes: int
    """How much was torn or damaged behind the last whole change."""


def load(path: Path) -> Loaded | None:
    """Return what a file holds, and take off what is torn; None if there is no file.

    Raises:
        BadJournalFile: Its base is not whole.
        OSError: It can't be read.
    """
    try:
        file = OpenFile(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    with open(file.descriptor, "rb", _READ_AHEAD, closefd=False) as source:
        frames = _Frames(source)
        try:
            base = _read_base(file, frames)
        except BadFrame as error:
            raise BadJournalFile(f"byte {frames.end}: {error}") from error
        changes, end = _read_changes(frames, base)
    size = os.fstat(file.descriptor).st_size
    if size > end:
        os.ftruncate(file.descriptor, end)
    return Loaded(base, changes, JournalFile(file, end), size - end)


class _Frames:
    """The frames of a file, and where the last of them ends."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.end = 0

    def next(self) -> tuple[bytes, Frame]:
        """Return the next frame, or raise `BadFrame`."""
        head = self._source.read(HEADER_BYTES)
        data = head + self._source.read(length_of(head) - HEADER_BYTES)
        frame = decode(data)
        self.end += len(data)
        return data, frame


def _read_base(file: OpenFile, frames: _Frames) -> Base:
    _, begin = frames.next()
    if begin.kind != BEGIN:
        raise BadFrame("the file does not begin with BEGIN")
    places: list[Place] = []
    names = 0
    last = False
    while not last:
        start = frames.end
        _, frame = frames.next()
        if (frame.kind, frame.table, frame.revision) != (BASE, begin.table, begin.revision):
            raise BadFrame("a frame does not belong to the base")
        places.append((start, frames.end - start))
        names += frame.count
        last = bool(frame.flags & LAST_OF_BASE)
    key_id, _ = begin.begun()
    return Base(begin.table, key_id, begin.revision, names, StoredFrames(file, places))


def _read_changes(frames: _Frames, base: Base) -> tuple[list[tuple[bytes, Frame]], int]:
    """Return the whole changes, and where the last of them ends."""
    changes: list[tuple[bytes, Frame]] = []
    whole, end, revision = 0, frames.end, base.revision
    for data, frame in _good_changes(frames, base.table):
        if frame.revision < revision:
            break
        changes.append((data, frame))
        if frame.revision > revision:
            whole, end, revision = len(changes), frames.end, frame.revision
    return changes[:whole], end


def _good_changes(frames: _Frames, table: int) -> Iterator[tuple[bytes, Frame]]:
    """Return frames up to the first that is no change of the table."""
    while True:
        try:
            data, frame = frames.next()
        except BadFrame:
            return
        if (frame.kind, frame.table) != (CHANGES, table):
            return
        yield data, frame
