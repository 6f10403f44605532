"""One reader of a journal: what it is to be sent next. Pure; the time is an argument.

A session is a position in the journal and nothing more, so that a slow reader costs no memory. It
is asked for frames, which are then written; it is asked again once they are.

    reader                           next frames
    has nothing                      BEGIN, BASE …, then as below
    is complete up to 16, of 20      the changes after 16, then as below
    is complete                      a BEAT each 250 ms
    is too old for the log           BEGIN …: a new table
    is newer than the journal        none: a replica that lags must not take a table back
    has another key                  none: `WrongKey`
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from control_plane.owners.base import Base
from control_plane.owners.frames import (
    BEAT_MS,
    FOLLOW,
    BadFrame,
    ClientMessage,
    revision_of,
    with_revision,
)
from control_plane.owners.journal import Journal

STEP_BYTES = 256 << 10
"""About so much is sent before the session is asked again."""
STEP_FRAMES = 4
"""Frames of a base that are sent before the session is asked again."""
BEAT_S = BEAT_MS / 1000
PAUSE_PER_READER_S = 0.000_25
"""About what a frame to one more reader costs the event loop, times three."""
MAX_PAUSE_S = 0.25
_EARLY = 0.01
"""Of `BEAT_S`: a timer may ring a little before its time."""
_GONE = -1
"""A position that the journal no longer has."""


class WrongKey(Exception):
    """The reader's fingerprints are of another key than the journal's."""


class Pace:
    """How often changes are sealed into frames: the more readers, the more changes in a frame.

    A change that comes after a pause is sealed at once. A frame to 1,000 readers costs their event
    loop about 0.1 s; with the pause of 0.25 s that follows, half of the time is left.
    """

    def __init__(self) -> None:
        self._free_at = -math.inf

    def wait(self, now: float) -> float:
        """Return for how many seconds what is appended must still wait."""
        return max(0.0, self._free_at - now)

    def sealed(self, now: float, readers: int) -> None:
        """Note that a frame goes out to so many readers."""
        self._free_at = now + min(MAX_PAUSE_S, readers * PAUSE_PER_READER_S)


class FollowSession:
    """What one reader is sent."""

    def __init__(self, journal: Journal, follow: ClientMessage) -> None:
        """Begin with what the reader says that it has.

        Args:
            journal: May have no base yet: then the reader waits for it.
            follow: The reader's first message.

        Raises:
            BadFrame: It is no FOLLOW.
        """
        if follow.kind != FOLLOW:
            raise BadFrame("the first message must be FOLLOW")
        self._journal = journal
        self._key_id = follow.key_id
        self._table = follow.table
        self.revision = follow.revision if follow.table else 0
        """Up to which the reader is complete, once it has what was returned."""
        self._lineage = 0
        """The journal's count of lineages when the position was found; 0: it was not yet."""
        self._position = 0
        self._base: Base | None = None
        """The base that the reader is being sent."""
        self._base_number = 0
        self._base_index = 0
        self._beat_at = -math.inf

    @property
    def is_ahead(self) -> bool:
        """Whether the reader has something newer than the journal, so that it is sent nothing."""
        base = self._journal.base
        return (
            base is not None
            and self._lineage != self._journal.lineages
            and self._table == base.table
            and self.revision > self._journal.revision
        )

    def next(self, now: float) -> Sequence[bytes]:
        """Return the frames to send now.

        They are a list, or a part of a base, which may have to be read from a file.

        Returns:
            None at all: ask again when the journal has changed, or `BEAT_S` has passed.

        Raises:
            WrongKey: The journal is of another key than the reader.
        """
        journal = self._journal
        if journal.base is None or not self._find_position():
            return []
        if self._base is not None:
            return self._next_of_base(self._base)
        frames = journal.frames(self._position, STEP_BYTES)
        if frames is None:
            return self._begin()
        if frames:
            self._position += len(frames)
            return self._raised(frames)
        if now < self._beat_at:
            return []
        # The beats of all readers fall due together, so that one timer serves them.
        self._beat_at = (math.floor(now / BEAT_S + _EARLY) + 1 - _EARLY) * BEAT_S
        self.revision = journal.revision
        return [journal.beat(now)]

    def _find_position(self) -> bool:
        """Find where the reader goes on if it has just come, or the journal has begun anew."""
        journal, base = self._journal, self._journal.base
        assert base is not None
        if self._lineage == journal.lineages:
            return True
        if self._key_id not in (0, base.key_id):
            text = "the fingerprints here are of another key: take the new configuration first"
            raise WrongKey(text)
        if self.is_ahead:
            return False
        self._lineage = journal.lineages
        self._base = None
        position = None
        if self._table == base.table and self.revision:
            position = journal.position_after(self.revision)
        if position is None:
            self._use(base)
        else:
            self._position = position
        return True

    def _begin(self) -> Sequence[bytes]:
        """Send a new table, because the log no longer has what the reader needs."""
        base = self._journal.base
        assert base is not None
        self._use(base)
        return self._next_of_base(base)

    def _use(self, base: Base) -> None:
        self._base = base
        self._base_number = self._journal.bases
        self._base_index = -1

    def _next_of_base(self, base: Base) -> Sequence[bytes]:
        if self._journal.bases - self._base_number > 1:
            # Two newer ones have come since. A reader must not keep more of them in memory.
            return self._begin()
        start = self._base_index
        if start < 0:
            self._base_index = 0
            self._table = base.table
            self.revision = 0
            return [base.begin()]
        self._base_index = end = start + STEP_FRAMES
        if end >= len(base.frames):
            self._base = None
            self.revision = base.revision
            position = self._journal.position_after(base.revision)
            self._position = _GONE if position is None else position
        return base.frames[start:end]

    def _raised(self, frames: Sequence[bytes]) -> Sequence[bytes]:
        """Return changes that don't say less than what the reader already is complete up to.

        Only a reader that begins amid a group is sent such (see `journal`).
        """
        last = revision_of(frames[-1])
        if revision_of(frames[0]) < self.revision:
            behind = self.revision
            frames = [
                with_revision(one, behind) if revision_of(one) < behind else one for one in frames
            ]
        self.revision = max(self.revision, last)
        return frames
