"""Look-ups through the process's cache, where the question allows it.

On PostgreSQL only: on SQLite a look-up takes microseconds, and to learn that nothing was committed
takes nearly as long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol

from control_plane.classifier.owner_cache import OwnerCache
from control_plane.routing.model import ClaimKey
from control_plane.topology.batched_lookup import BatchedLookup
from control_plane.topology.lookup import Seen
from control_plane.topology.service import Topology

CACHE = "classifier"


class Observer(Protocol):
    """Is told what the cache does, for metrics."""

    def cache_counted(self, cache: str, what: str, number: int) -> None:
        """So many ``hits``, ``misses`` or ``evictions`` more."""


def open_cached_lookup(topology: Topology, observer: Observer) -> CachedLookup | None:
    """For one event loop; None on SQLite. To be closed by the caller."""
    lookup = topology.batched_lookup()
    return None if lookup is None else CachedLookup(lookup, OwnerCache(), observer)


class CachedLookup:
    """A `BatchedLookup` and an `OwnerCache`. One per event loop."""

    def __init__(self, lookup: BatchedLookup, cache: OwnerCache, observer: Observer) -> None:
        self._lookup = lookup
        self._cache = cache
        self._observer = observer
        self._learning = asyncio.Lock()

    async def close(self) -> None:
        """Close the connections."""
        await self._lookup.close()

    async def look(self, keys: Sequence[ClaimKey], known: int | None) -> Seen:
        """The owners of keys: as of now, or of any time since ``known``, if that is given.

        Raises as `BatchedLookup.look` does.
        """
        cache = self._cache
        if known is not None and keys:
            found = cache.get(keys, known, time.monotonic())
            self._observer.cache_counted(CACHE, "misses" if found is None else "hits", 1)
            if found is not None:
                return found
        seen = await self._lookup.look(keys)
        if known is not None:
            if not cache.knows(seen):
                await self._learn(seen)
            evictions = cache.evictions
            cache.put(keys, seen, time.monotonic())
            if cache.evictions > evictions:
                self._observer.cache_counted(CACHE, "evictions", cache.evictions - evictions)
        return seen

    async def _learn(self, seen: Seen) -> None:
        """Read all epochs; once, however many questions find out that they have changed."""
        async with self._learning:
            if not self._cache.knows(seen):
                self._cache.learn(*await self._lookup.epochs())
