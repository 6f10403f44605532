"""Tables of an automaton in little space: rows that differ in few places share one array of cells.

In most states nearly all bytes lead to one next state: that is the state's fallback. Others have
cells. A state's number is the place of its first column in the cells, so a runner finds the cell by
one addition. A cell tells which state owns it; any other state takes its fallback:

    state 1: on column 2 → 4, on column 3 → 2, else → 0
    state 2: on column 0 → 4, else → 2

           0       1       2         3         4
    cell                   2: 4      1: 4      1: 2

GitLab's paths take half of the space of a full table, and captures a fourth.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

NOBODY = 0xFFFF
"""The owner of a cell that no state owns."""
MAX_PLACES = 0xFFFF
_TRIES = 256
"""Places that are tried for one row before it goes behind all others."""


@dataclass(slots=True)
class Comb[Way]:
    """Rows, packed.

    Attributes:
        places: Where the first column of each row is; no two rows have the same place.
        fallbacks: The way of each row on all columns that have no cell of it.
        cells: The row that owns it and its way; None: nobody owns it.
    """

    places: list[int] = field(default_factory=list)
    fallbacks: list[Way] = field(default_factory=list)
    cells: list[tuple[int, Way] | None] = field(default_factory=list)

    def at_places[Value](self, values: Sequence[Value], other: Value) -> list[Value]:
        """Return values of the rows in the order of their places; ``other`` where no row is."""
        placed = [other] * (max(self.places) + 1)
        for place, value in zip(self.places, values, strict=True):
            placed[place] = value
        return placed


def comb[Way](rows: Sequence[Sequence[Way]], columns: int, quiet: int) -> Comb[Way]:
    """Pack rows; row 0 gets place 0, and no row before ``quiet`` a place behind one after it.

    There may be more than `MAX_PLACES`.
    """
    packed: Comb[Way] = Comb()
    owned = placed = 0
    first = 0
    for number, row in enumerate(rows):
        if number == quiet:
            first = placed.bit_length()
        fallback = Counter(row).most_common(1)[0][0]
        shape = sum(1 << column for column, way in enumerate(row) if way != fallback)
        place = _place(owned, placed, shape, first)
        owned |= shape << place
        placed |= 1 << place
        first = max(_first_gap(owned | placed, first), place - _TRIES)
        packed.places.append(place)
        packed.fallbacks.append(fallback)
        packed.cells += [None] * (place + columns - len(packed.cells))
        for column, way in enumerate(row):
            if way != fallback:
                packed.cells[place + column] = (number, way)
    return packed


def _place(owned: int, placed: int, shape: int, first: int) -> int:
    """Return where a row fits: one of some places from ``first`` on, or behind all others."""
    owned_here, placed_here = owned >> first, placed >> first
    for place in range(first, first + _TRIES):
        if not owned_here & shape and not placed_here & 1:
            return place
        owned_here >>= 1
        placed_here >>= 1
    return max(first, owned.bit_length(), placed.bit_length())


def _first_gap(used: int, first: int) -> int:
    """Return the first place from ``first`` on that is not used."""
    here = used >> first
    return first + (~here & here + 1).bit_length() - 1


def numbers(values: Iterable[int]) -> bytes:
    """Return 16-bit numbers as bytes, little-endian."""
    listed = list(values)
    return struct.pack(f"<{len(listed)}H", *listed)
