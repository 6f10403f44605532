"""How long a revision takes until the last node that it was meant for runs it."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Hashable

GIVE_UP_S = 60.0
"""Nobody is waited for longer; the revision then counts with the time that it has had."""
MAX_TIMED = 10_000
"""Revisions under way at once; beyond that the oldest is given up."""


class Propagation[Stream: Hashable]:
    """Times revisions from a given moment until every stream that was open then has acknowledged.

    A stream that ends is waited for no longer, and one that comes later was never waited for. What
    acknowledges a revision has acknowledged those before it. Each stream stands before the first
    revision that it lacks; a revision is done when nobody stands before it any more. So an
    acknowledgement costs one search among the revisions under way, however many streams there are.
    """

    def __init__(
        self,
        observe: Callable[[float], None],
        clock: Callable[[], float] = time.monotonic,
        give_up_s: float = GIVE_UP_S,
        max_timed: int = MAX_TIMED,
    ) -> None:
        """``observe`` is told the seconds of each revision; ``clock`` is in seconds."""
        self._observe = observe
        self._clock = clock
        self._give_up_s = give_up_s
        self._max_timed = max_timed
        self._revisions: list[int] = []
        self._since: list[float] = []
        self._first = 0
        """The place of the oldest revision under way; places are never used again."""
        self._places: dict[Stream, int] = {}
        self._standing: Counter[int] = Counter()

    @property
    def under_way(self) -> int:
        """How many revisions are timed now."""
        return len(self._revisions)

    def joined(self, stream: Stream) -> None:
        """A stream is there; what was published before does not wait for it."""
        self._places[stream] = self._end
        self._standing[self._end] += 1

    def left(self, stream: Stream) -> None:
        """A stream has ended."""
        self._leave(self._place(stream))
        del self._places[stream]
        self._finish()

    def acknowledged(self, stream: Stream, revision: int) -> None:
        """A stream's client runs everything up to this revision."""
        self._move(stream, revision)
        self._finish()

    def published(self, revision: int, since: float, acknowledged: Callable[[Stream], int]) -> None:
        """A revision, higher than all before, went out; its time counts from ``since``.

        ``acknowledged`` tells what a stream's client runs already: not every revision changes
        something for everyone. Without streams there is nothing to time.
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
        """Count what has been under way for too long; to be called now and then."""
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
