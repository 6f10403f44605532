"""Look-ups of owners for a simulation: each claim is asked for once, many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import batched

from control_plane.routing.model import ClaimKey
from control_plane.simulation.worlds import Lookup

BATCH = 400
"""Claims of one look-up. Their values have 1,024 characters at most, so 2 MiB hold them."""
MAX_REMEMBERED = 200_000
"""Owners that are remembered; then the memory is emptied."""


class RememberedOwners:
    """Remembers what a look-up says, for the time of one simulation."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._owners: dict[ClaimKey, int | None] = {}

    def __call__(self, keys: Sequence[ClaimKey]) -> list[int | None]:
        """Return for each claim the id of the cell that owns it, or None."""
        if len(self._owners) + len(keys) > MAX_REMEMBERED:
            self._owners = {}
        owners = self._owners
        for batch in batched([key for key in keys if key not in owners], BATCH):
            owners.update(zip(batch, self._lookup(batch), strict=True))
        return [owners[key] for key in keys]
