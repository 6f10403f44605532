"""One lineage of the table of owners: a base, and the log of changes since. Pure, for one thread.

The problem: a thousand readers are at different places of the same history. Most want only the next
change; some were away for a minute; some have nothing. None may cost memory of its own.

The idea: the history is a list of encoded frames that all readers share, and a reader is a number,
its position in the list. Example of a log whose base was read at revision 12:

    position   frame's revision   records
                12 (the base)
    0           13                (h2, 9)
    1           13                (h7, 4)        a part of the next group, which needs two frames
    2           20                (h8, 4)        the group is whole: complete up to 20

A reader that is complete up to 13 begins at position 1. One that is complete up to 16, because
another replica has cut its groups elsewhere, begins at 1 too: that is where the group begins that
holds the revisions after 16.

Why a reader at 16 may be given a group that begins at 14: within a group, each fingerprint stands
once, with its owner as of the group's end (`append` sees to that). So a record never takes the
reader's table back to what was before 16. Frames are repeated, never left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from control_plane.owners.base import Base, in_bodies
from control_plane.owners.change_log import ChangeLog, size_of
from control_plane.owners.frames import (
    BEAT,
    CHANGES,
    CUT_OFF,
    MAX_RECORDS,
    Frame,
    encode,
    frame_of_records,
)

MAX_LOG_BYTES = 16 << 20
"""Of changes since the base. When there are more, the holder makes a new base (`Journal.is_full`).
As many bytes of older changes are kept for readers that were away, or are still reading the base
before."""
BEAT_SHARED_S = 0.005
"""For so long all readers get the same beat."""
type Past = tuple[int, Sequence[tuple[int, int]]]
"""A revision, and each fingerprint that has changed since, once, with its owner as of the base."""


class Journal:
    """The table of owners in one process: nothing at first, then a base and its log."""

    def __init__(self, max_log_bytes: int = MAX_LOG_BYTES) -> None:
        self._max_log_bytes = max_log_bytes
        self.base: Base | None = None
        self.bases = 0
        """How many bases there have been."""
        self.lineages = 0
        """How often `begin` was called."""
        self.revision = 0
        """The table is complete up to and with this one."""
        self.known_at = -math.inf
        """When it was last known that no newer revision was committed, by the holder's clock."""
        self.cut_off = False
        """Whether the holder itself has no connection to a control plane."""
        self._log = ChangeLog(0)
        self._log_begin = 0
        """The position of the log's first frame."""
        self._base_end = 0
        """The position of the first frame for a reader that has the base."""
        self._size_since_base = 0
        self._beat_of: tuple[float, int, int, float, bool] | None = None
        self._beat = b""
        self._pending: dict[int, int] = {}
        self._pending_revision = 0
        self._pending_known_at = -math.inf

    def begin(self, base: Base, past: Past | None = None) -> None:
        """Begin a lineage with a base; forget all that was before.

        Args:
            base: The base.
            past: What had changed before the base, for readers that come with a table of this
                lineage; None if that is not known.
        """
        self.lineages += 1
        self._log_begin += len(self._log.frames)
        floor, records = past or (base.revision, ())
        self._log = ChangeLog(floor)
        self._pending.clear()
        self._pending_revision = self.revision = base.revision
        self.known_at = self._pending_known_at = -math.inf
        self.base = base
        if floor < base.revision:
            *bodies, last = list(in_bodies(records)) or [b""]
            for body in bodies:
                self._put_records(body, floor)
            self._put_records(last, base.revision)
        self._set(base)

    def rebase(self, base: Base) -> None:
        """Take another base of the same lineage; the log goes on.

        Raises:
            ValueError: The base is of another lineage or key, or of no revision in the log.
        """
        now = self.base
        if now is None or (now.table, now.key_id) != (base.table, base.key_id):
            raise ValueError("the base is of another lineage: begin with it")
        self.seal()
        if not self._log.floor <= base.revision <= self.revision:
            has = f"{self._log.floor} to {self.revision}"
            raise ValueError(f"the base is of revision {base.revision}; the log has {has}")
        self._set(base)
        self._trim()

    def _set(self, base: Base) -> None:
        self.base = base
        self.bases += 1
        index = self._log.index_after(base.revision)
        self._base_end = self._log_begin + index
        self._size_since_base = sum(map(size_of, self._log.frames[index:]))

    def append(self, revision: int, records: Iterable[tuple[int, int]]) -> None:
        """Add the changes of one revision. Readers see them after `seal`.

        Args:
            revision: Newer than all before.
            records: All of the revision: fingerprint, and the cell that now owns the name.

        Raises:
            ValueError: The revision is not newer.
        """
        if revision <= max(self.revision, self._pending_revision):
            raise ValueError(f"revision {revision} is not after {self._pending_revision}")
        self._pending.update(records)
        self._pending_revision = revision
        if len(self._pending) >= MAX_RECORDS:
            self.seal()

    def advance(self, revision: int) -> None:
        """Note that nothing has changed up to and with ``revision`` but what was appended."""
        if self._pending:
            self._pending_revision = max(self._pending_revision, revision)
        else:
            self._pending_revision = self.revision = max(self.revision, revision)

    def confirm(self, at: float) -> None:
        """Note that all that was committed at this time is appended, or noted by `advance`."""
        if self._pending:
            self._pending_known_at = max(self._pending_known_at, at)
        else:
            self.known_at = max(self.known_at, at)

    @property
    def has_pending(self) -> bool:
        """Whether there is something to seal."""
        return bool(self._pending) or self._pending_revision > self.revision

    def seal(self) -> None:
        """Encode what was appended, once for all readers, as one group of frames."""
        if not self.has_pending:
            return
        bodies = list(in_bodies(list(self._pending.items()))) or [b""]
        if len(bodies) > 1:
            self.mark()
        for body in bodies[:-1]:
            self._put_records(body, self.revision)
        self._put_records(bodies[-1], self._pending_revision)
        self.revision = self._pending_revision
        self.known_at = max(self.known_at, self._pending_known_at)
        self._pending.clear()
        self._trim()

    def mark(self) -> None:
        """Write down how far the table is complete, if the last frame does not say it."""
        if self.base is not None and self._log.last < self.revision:
            self._put_records(b"", self.revision)

    def _put_records(self, body: bytes, revision: int) -> None:
        assert self.base is not None, "changes need a base"
        self._put(encode(frame_of_records(CHANGES, revision, self.base.table, body)), revision)

    def _put(self, frame: bytes, revision: int) -> None:
        self._log.put(frame, revision)
        self._size_since_base += size_of(frame)

    def relay(self, data: bytes, frame: Frame) -> None:
        """Add a CHANGES frame that another journal has made.

        Args:
            data: The frame's bytes.
            frame: The same, decoded.

        Raises:
            ValueError: It is no CHANGES frame of this lineage, or goes back.
        """
        if self.base is None or (frame.kind, frame.table) != (CHANGES, self.base.table):
            raise ValueError("the frame is no change of this table")
        if frame.revision < self.revision:
            raise ValueError(f"revision {frame.revision} came after {self.revision}")
        if frame.revision == self.revision:
            # This is a part of a group. What it follows must be complete in the log, too.
            self.mark()
        self._put(data, frame.revision)
        self._pending_revision = self.revision = frame.revision
        self._trim()

    def _trim(self) -> None:
        if self._log.size > 2 * self._max_log_bytes:
            most = self._base_end - self._log_begin
            # More than needed, so that the front of the lists is not moved for each frame.
            self._log_begin += self._log.drop(most, self._max_log_bytes * 7 // 4)

    @property
    def is_full(self) -> bool:
        """Whether there are so many changes since the base that it is time for a new one."""
        return self._size_since_base > self._max_log_bytes

    def since_base(self) -> list[bytes]:
        """Return the frames for a reader that has the base."""
        return self._log.frames[self._base_end - self._log_begin :]

    @property
    def end(self) -> int:
        """The position behind the last frame."""
        return self._log_begin + len(self._log.frames)

    def position_after(self, revision: int) -> int | None:
        """Return the position for a reader that is complete up to ``revision``.

        Returns:
            None if the changes after it are no longer known, or it is not known yet.
        """
        if not self._log.floor <= revision <= self.revision:
            return None
        return self._log_begin + self._log.index_after(revision)

    def frames(self, position: int, most_bytes: int) -> Sequence[bytes] | None:
        """Return the frames from a position on, of about ``most_bytes`` but at least one.

        Returns:
            None if they are no longer known.
        """
        index = position - self._log_begin
        if index < 0:
            return None
        end, size = index, 0
        while end < len(self._log.frames) and size < most_bytes:
            size += len(self._log.frames[end])
            end += 1
        return self._log.frames[index:end]

    def beat(self, now: float) -> bytes:
        """Return the BEAT frame of this time, by the holder's clock.

        Beats to all readers fall due together, so one is encoded for all of a few milliseconds. Its
        age is that of their end.
        """
        assert self.base is not None, "a beat needs a base"
        until = math.ceil(now / BEAT_SHARED_S) * BEAT_SHARED_S
        what = (until, self.revision, self.base.table, self.known_at, self.cut_off)
        if what != self._beat_of:
            age_ms = math.ceil(min(max(0.0, (until - self.known_at) * 1000), 0xFFFFFFFF))
            flags = CUT_OFF if self.cut_off else 0
            frame = Frame(BEAT, self.revision, self.base.table, flags, age_ms=age_ms)
            self._beat_of, self._beat = what, encode(frame)
        return self._beat
