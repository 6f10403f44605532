"""Finds names whose fingerprints collide, as changes of owners become records of the stream.

Two claimed names with equal lower 48 bits would be one name to an edge. With ten million names that
happens in one deployment of six. So each change is compared with all names that are claimed: those
of the base, which is searched, and those that have changed since, which are held here. Example:

    the base has        0xAAAA_…07 → cell 1
    route:x is claimed  0xBBBB_…07 → cell 2       collides: both become ASK
    route:x is released                           both stay ASK until the next base

While it lasts, edges ask the classifier about both. A collision ends with the next base at the
earliest, because it is not known here which of its names is which.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from control_plane.owners.fingerprints import LOW_BITS, low_bits
from control_plane.owners.frames import ASK, NOBODY

_CELL_BITS = 32
_HELD = 0xFFFFFFFE
"""Kept for a name that a move holds: it is asked about, but collides with nothing."""


class Searched(Protocol):
    """The names of a base."""

    def find(self, low: int) -> list[tuple[int, int]]:
        """Return the records whose fingerprints have these lower bits."""


class ClaimedNames:
    """The names that are claimed: a base, and what has changed since."""

    def __init__(self, base: Searched) -> None:
        self._base = base
        self._changed: dict[int, int] = {}
        """By lower bits: the upper bits of the last name that has changed, and its cell's id."""
        self._older: dict[int, int] = {}
        """The same of the changes before `mark`."""
        self._collided: dict[int, set[int]] = {}
        """The fingerprints of names that collide, by their lower bits."""
        self._in_next_base: set[int] = set()
        """Lower bits that collided before `mark`, and have not changed since."""

    @property
    def changed(self) -> int:
        """How many names have changed since the base, about."""
        return len(self._changed) + len(self._older)

    @property
    def collided(self) -> int:
        """How many names are known to collide, of those that have changed since the base."""
        return sum(map(len, self._collided.values()))

    def records(self, fingerprint: int, cell_id: int, *, is_new: bool) -> Iterable[tuple[int, int]]:
        """Return the records of a change of an owner.

        Args:
            fingerprint: Of the name, all 64 bits.
            cell_id: Of its new owner; 0: it is released; `ASK`: a move holds it.
            is_new: Whether nobody owned the name before.
        """
        low = low_bits(fingerprint)
        others = self._collided.get(low)
        if others is None:
            before = self._find(low)
            if not _collides(before, fingerprint, is_new=is_new):
                kept = _HELD if cell_id == ASK else cell_id
                self._changed[low] = fingerprint >> LOW_BITS << _CELL_BITS | kept
                return [(fingerprint, cell_id)]
            others = self._collided[low] = {one for one, _ in before}
        others.add(fingerprint)
        self._in_next_base.discard(low)
        return [(one, ASK) for one in others]

    def _find(self, low: int) -> list[tuple[int, int]]:
        packed = self._changed.get(low, self._older.get(low))
        if packed is None:
            return self._base.find(low)
        # A fingerprint whose lower bits are 0 comes out as another one, with 1: then it seems to
        # collide with itself, and edges ask, which is never wrong.
        whole = packed >> _CELL_BITS << LOW_BITS | low
        return [(whole, packed & (1 << _CELL_BITS) - 1)]

    def mark(self) -> None:
        """Note that a base is read from now on, which will have all changes up to now."""
        self._older |= self._changed
        self._changed = {}
        self._in_next_base = set(self._collided)

    def rebase(self, base: Searched) -> None:
        """Take the base that was read since `mark`."""
        self._base = base
        self._older = {}
        for low in self._in_next_base:
            del self._collided[low]
        self._in_next_base = set()


def _collides(before: list[tuple[int, int]], fingerprint: int, *, is_new: bool) -> bool:
    """Return whether a name collides with those that had its lower bits before."""
    claimed = [one for one in before if one[1] != NOBODY]
    if not claimed:
        return False
    (whole, cell_id), *more = claimed
    # A new name whose fingerprint is claimed is another name, of which all 64 bits are equal.
    return bool(more) or cell_id == ASK or whole != fingerprint or is_new
