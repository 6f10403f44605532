"""What an Envoy's edge map says of itself, in its stats."""

from __future__ import annotations

from tests.support.conditions import wait_until
from tests.support.system import System

_STATS = "dynamicmodulescustom.cellway_edge_"


def map_in_step(system: System) -> None:
    """Wait until the map has all owners as of now."""
    revision = system.plane.topology.revision()
    wait_until(lambda: map_revision(system) >= revision)


def map_revision(system: System) -> int:
    """Return the revision up to which the map is complete."""
    name = f"{_STATS}revision"
    return system.stats(name.replace(".", r"\.")).get(name, 0)


def map_answers(system: System) -> dict[str, int]:
    """Return how often the map has answered, by the stats of its rules."""
    return system.stats(rf"{_STATS}answers.*".replace("custom.", r"custom\."))
