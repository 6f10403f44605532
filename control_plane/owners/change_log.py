"""A list of encoded changes, and where in it a reader goes on that has been away."""

from __future__ import annotations

from bisect import bisect_left

FRAME_OVERHEAD = 100
"""Bytes that Python spends on a frame of the log, beside its content."""


class ChangeLog:
    """CHANGES frames in order, and the revision up to which each makes a table complete."""

    def __init__(self, floor: int) -> None:
        self.floor = floor
        """The log holds all that has changed after this revision."""
        self.revisions: list[int] = []
        """Of each frame. The first of several with one revision has completed it; the others are
        parts of the next group."""
        self.frames: list[bytes] = []
        self.size = 0

    @property
    def last(self) -> int:
        """The revision of the last frame."""
        return self.revisions[-1] if self.revisions else self.floor

    def put(self, frame: bytes, revision: int) -> None:
        """Add a frame at the end."""
        self.frames.append(frame)
        self.revisions.append(revision)
        self.size += size_of(frame)

    def index_after(self, revision: int) -> int:
        """Return the index of the first frame for a reader that is complete up to ``revision``."""
        at = self._completing(revision)
        if at < len(self.revisions) and self._at(at) > revision:
            # The reader is amid a group, which begins behind the one before.
            at = self._completing(self._at(at - 1))
        return min(at + 1, len(self.frames))

    def _completing(self, revision: int) -> int:
        """Return the index of the first frame that completes ``revision``; -1: the floor does."""
        return -1 if revision <= self.floor else bisect_left(self.revisions, revision)

    def _at(self, index: int) -> int:
        return self.floor if index < 0 else self.revisions[index]

    def drop(self, most: int, size: int) -> int:
        """Drop frames from the front until the log has at most ``size`` bytes.

        It is only cut behind a frame that completes a revision, which is then the floor.

        Args:
            most: How many frames may go: an index that `index_after` has returned.
            size: In bytes.

        Returns:
            How many have gone.
        """
        left, count = self.size, 0
        while count < most and (left > size or not self._completes(count - 1)):
            left -= size_of(self.frames[count])
            count += 1
        if count:
            self.floor = self.revisions[count - 1]
            self.size = left
            del self.frames[:count], self.revisions[:count]
        return count

    def _completes(self, index: int) -> bool:
        return self._completing(self._at(index)) == index


def size_of(frame: bytes) -> int:
    """Return the bytes that a frame takes in memory."""
    return len(frame) + FRAME_OVERHEAD
