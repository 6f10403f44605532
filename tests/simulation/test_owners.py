"""Each claim is asked for once, within bounds."""

from __future__ import annotations

from collections.abc import Sequence
from unittest.mock import patch

from control_plane.routing.model import ClaimKey
from control_plane.simulation import owners
from control_plane.simulation.owners import RememberedOwners


def test_what_is_known_is_not_asked_for_again() -> None:
    asked: list[int] = []

    def lookup(keys: Sequence[ClaimKey]) -> list[int | None]:
        asked.append(len(keys))
        return [int(value) or None for _, value in keys]

    with patch.object(owners, "BATCH", 3), patch.object(owners, "MAX_REMEMBERED", 8):
        remembered = RememberedOwners(lookup)
        keys = [("route", str(number)) for number in range(5)]
        assert remembered(keys) == [None, 1, 2, 3, 4]
        assert remembered(keys[:3]) == [None, 1, 2]
        assert asked == [3, 2]
        # Eight are remembered at most, so all is forgotten.
        assert remembered([("route", "9"), *keys[1:4]]) == [9, 1, 2, 3]
        assert asked == [3, 2, 3, 1]
