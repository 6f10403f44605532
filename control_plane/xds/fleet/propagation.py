"""How long a revision takes until the last node that it was meant for runs it.

The problem: each of a thousand streams acknowledges each revision, and several revisions are on
their way at once. To keep a set of streams for each revision costs one removal for each revision
and stream. The idea: whoever acknowledges a revision has acknowledged all before it. So each stream
stands at one place, the first revision that it lacks, and for each place only the number of streams
is kept. A revision is done when nobody stands at its place or before. An acknowledgement costs one
binary search among the revisions under way, however many streams there are.

Example: revisions 7, 8 and 9 are under way at the places 0, 1 and 2:

    streams    s at 0 (it runs 6), t at 2 (it runs 8), u at 3 (it runs 9)
    s acks 8   s moves to 2; nobody stands at 0 and 1, so 7 and 8 are done
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Hashable

GIVE_UP_S = 60.0
"""How long a revision is timed at most. After that it counts with the time that it has had."""
MAX_TIMED = 10_000
"""Revisions under way at once. Beyond that the oldest is given up."""


class Propagation[Stream: Hashable]:
    """Times each revision until every stream that was open when it went out has acknowledged it.

    A stream that ends is not waited for any longer.
    """

    def __init__(
        self,
        observe: Callable[[float], None],
        clock: Callable[[], float] = time.monotonic,
        give_up_s: float = GIVE_UP_S,
        max_timed: int = MAX_TIMED,
    ) -> None:
        """Time nothing yet.

        Args:
            observe: Called with the seconds that a revision took.
            clock: Returns the time in seconds.
            give_up_s: How long a revision is timed at most.
            max_timed: How many revisions are timed at once.
        """
        self._observe = observe
        self._clock = clock
        self._give_up_s = give_up_s
        self._max_timed = max_timed
        self._revisions: list[int] = []
        """The revisions under way, ascending."""
        self._since: list[float] = []
        """When each of them began."""
        self._first = 0
        """The place of the oldest revision under way. Places are never used again."""
        self._places: dict[Stream, int] = {}
        """The place of the first revision that a stream lacks; below `_first` means `_first`."""
        self._standing: Counter[int] = Counter()
        """How many streams stand at a place."""

    @property
    def under_way(self) -> int:
        """How many revisions are timed now."""
        return len(self._revisions)

    def joined(self, stream: Stream) -> None:
        """Wait for a new stream, for revisions that are published from now on."""
        self._places[stream] = self._end
        self._standing[self._end] += 1

    def left(self, stream: Stream) -> None:
        """Wait no longer for a stream that has ended."""
        self._leave(self._place(stream))
        del self._places[stream]
        self._finish()

    def acknowledged(self, stream: Stream, revision: int) -> None:
        """Record that a stream's client runs everything up to a revision."""
        self._move(stream, revision)
        self._finish()

    def published(self, revision: int, since: float, acknowledged: Callable[[Stream], int]) -> None:
        """Time a revision that went out. Without any stream there is nothing to time.

        Args:
            revision: The revision, higher than all before.
            since: When its time began.
            acknowledged: Returns the revision that a stream's client runs. It may be this one
                already, because not every revision changes something for everyone.
        """
        self.give_up()
        if not self._places:
            return
        if len(self._revisions) >= self._max_timed:
            self._end_oldest()
        self._revisions.append(revision)
        self._since.append(since)
        for stream in self._places:
            self._move(stream, acknowledged(stream))
        self._finish()

    def give_up(self) -> None:
        """Count revisions that have been under way for too long. To be called now and then."""
        before = self._clock() - self._give_up_s
        while self._since and self._since[0] <= before:
            self._end_oldest()

    @property
    def _end(self) -> int:
        return self._first + len(self._revisions)

    def _place(self, stream: Stream) -> int:
        return max(self._places[stream], self._first)

    def _move(self, stream: Stream, revision: int) -> None:
        old = self._place(stream)
        new = self._first + bisect_right(self._revisions, revision)
        if new > old:
            self._leave(old)
            self._places[stream] = new
            self._standing[new] += 1

    def _leave(self, place: int) -> None:
        self._standing[place] -= 1
        if not self._standing[place]:
            del self._standing[place]

    def _finish(self) -> None:
        while self._revisions and self._first not in self._standing:
            self._end_oldest()

    def _end_oldest(self) -> None:
        self._observe(self._clock() - self._since[0])
        del self._revisions[0], self._since[0]
        late = self._standing.pop(self._first, 0)
        self._first += 1
        if late:
            self._standing[self._first] += late
