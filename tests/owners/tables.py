"""A reader's table, as an Envoy builds it from frames, and small journals to read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from control_plane.owners.base import Base, base_frames, in_bodies
from control_plane.owners.frames import (
    BASE,
    BEAT,
    BEGIN,
    FOLLOW,
    LAST_OF_BASE,
    NOBODY,
    ClientMessage,
    Frame,
    decode,
)
from control_plane.owners.journal import MAX_LOG_BYTES, Journal

TABLE, KEY_ID = 77, 5


def base(
    owners: Mapping[int, int], revision: int, table: int = TABLE, key_id: int = KEY_ID
) -> Base:
    """Return a base in memory."""
    frames = list(base_frames(table, revision, in_bodies(list(owners.items()))))
    return Base(table, key_id, revision, len(owners), frames)


def journal(
    owners: Mapping[int, int], revision: int, max_log_bytes: int = MAX_LOG_BYTES
) -> Journal:
    """Return a journal with a base in memory."""
    one = Journal(max_log_bytes)
    one.begin(base(owners, revision))
    return one


class Reader:
    """A table as the module builds it: it refuses what the module would refuse."""

    def __init__(self, key_id: int = KEY_ID) -> None:
        self.key_id = key_id
        self.table = 0
        self.revision = 0
        self.owners: dict[int, int] = {}
        self.beats: list[Frame] = []
        self.begun = 0
        self._building: dict[int, int] | None = None
        self._building_table = 0

    def follow(self) -> ClientMessage:
        """Return the first message of a new stream."""
        self._building = None
        return ClientMessage(FOLLOW, self.revision, self.table, key_id=self.key_id)

    def take_all(self, frames: Iterable[bytes]) -> None:
        """Take frames in order."""
        for data in frames:
            self.take(decode(data))

    def take(self, frame: Frame) -> None:
        """Take a frame; an AssertionError is what the module would end the stream for."""
        if frame.kind == BEGIN:
            assert self.key_id in (0, frame.begun()[0])
            assert frame.table != self.table or frame.revision >= self.revision
            self.begun += 1
            self._building, self._building_table = {}, frame.table
        elif frame.kind == BASE:
            assert self._building is not None
            assert frame.table == self._building_table
            _apply(frame, self._building)
            if frame.flags & LAST_OF_BASE:
                self.owners, self._building = self._building, None
                self.table, self.revision = frame.table, frame.revision
        else:
            assert frame.table == self.table
            assert frame.revision >= self.revision
            assert self._building is None
            _apply(frame, self.owners)
            self.revision = frame.revision
            if frame.kind == BEAT:
                self.beats.append(frame)


def _apply(frame: Frame, owners: dict[int, int]) -> None:
    for h, cell in frame.records():
        if cell == NOBODY:
            owners.pop(h, None)
        else:
            owners[h] = cell
