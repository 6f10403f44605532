"""How far ranges of ids are used, and how high ids were ever allotted."""

from __future__ import annotations

from dataclasses import dataclass

ALARM_SHARE = 0.9
"""GitLab's hard limit for the saturation of a sequence."""


@dataclass(frozen=True, slots=True)
class SequenceUse:
    """A cell's ranges together: how many ids it was allotted, and has reported as used."""

    cell: str
    allotted: int
    used: int

    @property
    def share(self) -> float:
        """The used share of the allotted ids, 0 to 1."""
        return self.used / self.allotted if self.allotted else 0.0

    @property
    def alarming(self) -> bool:
        """Whether more should be allotted now."""
        return self.share >= ALARM_SHARE


@dataclass(frozen=True, slots=True)
class HighWaterMark:
    """The highest id ever allotted: ``mark`` in the database, ``outside`` in the mark file.

    Ids up to ``floor`` may be in use by cells that a restored backup has lost.
    """

    mark: int
    floor: int
    outside: int | None

    @property
    def restored(self) -> bool:
        """Whether the database is older than the file: nothing is allotted until confirmed."""
        return self.outside is not None and self.outside > self.mark
