"""The entries that caches of owners pass to each other, and the observer of caches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from control_plane.topology.values import ClaimKey

PROCESS_CACHE = "classifier"
"""The cache in the process, as metrics name it."""
TABLE = "owners"
"""The table of all owners, as metrics name it."""
SHARED_CACHE = "redis"
"""The cache that processes share, as metrics name it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The owner of a claim as of a revision."""

    revision: int
    owner: int


class CacheObserver(Protocol):
    """Is told what a cache does, for metrics."""

    def cache_counted(self, cache: str, what: str, number: int) -> None:
        """Count so many ``hits``, ``misses``, ``stale``, ``evictions`` or ``errors`` more."""


class SharedOwnerCache(Protocol):
    """A cache of owners that processes share. Its keys are normalised.

    It can only spare the database a question. So it never raises: where it fails, it returns
    nothing.
    """

    async def owners_of(self, database: str, keys: Sequence[ClaimKey]) -> list[Entry | None]:
        """Return the entry of each key, or None. An entry may be too old: see `OwnerCache.admit`.

        Args:
            database: The database that is asked about, as `Seen.database` names it.
            keys: Normalised keys.
        """

    def put(self, database: str, entries: Sequence[tuple[ClaimKey, Entry]]) -> None:
        """Keep entries, soon; the caller does not wait for that."""

    async def close(self) -> None:
        """Close the connections."""
