"""Look-ups through the process's cache, where the question allows it.

On PostgreSQL only: on SQLite a look-up takes microseconds, and to learn that nothing was committed
takes nearly as long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol

from control_plane.classifier.cache.memory import Entry, OwnerCache
from control_plane.routing.model import ClaimKey
from control_plane.topology import Topology
from control_plane.topology.lookup.batched import BatchedLookup
from control_plane.topology.lookup.interface import Seen, normalised

CACHE = "classifier"
SHARED = "redis"


class Observer(Protocol):
    """Is told what the cache does, for metrics."""

    def cache_counted(self, cache: str, what: str, number: int) -> None:
        """So many ``hits``, ``misses``, ``evictions`` or ``errors`` more."""


class Shared(Protocol):
    """A cache that processes share; see `control_plane.classifier.cache.redis`."""

    async def get(self, database: str, keys: Sequence[ClaimKey]) -> list[Entry | None]:
        """What is kept of each key, or None; never fails."""

    def put(self, database: str, entries: Sequence[tuple[ClaimKey, Entry]]) -> None:
        """Keep entries, soon."""

    async def close(self) -> None:
        """Close the connections."""


def open_cached_lookup(
    topology: Topology, observer: Observer, redis_url: str | None = None
) -> CachedLookup | None:
    """For one event loop; None on SQLite. To be closed by the caller."""
    lookup = topology.batched_lookup()
    if lookup is None:
        return None
    shared = None
    if redis_url is not None:
        # Imported by who uses it: it takes as long as all the rest of a classifier's start.
        from control_plane.classifier.cache.redis import SharedCache

        shared = SharedCache(redis_url, observer)
    return CachedLookup(lookup, OwnerCache(), observer, shared)


class CachedLookup:
    """A `BatchedLookup` and an `OwnerCache`, with or without a second level that others share.

    One per event loop.
    """

    def __init__(
        self,
        lookup: BatchedLookup,
        cache: OwnerCache,
        observer: Observer,
        shared: Shared | None = None,
    ) -> None:
        self._lookup = lookup
        self._cache = cache
        self._observer = observer
        self._shared = shared
        self._learning = asyncio.Lock()

    async def close(self) -> None:
        """Close the connections."""
        await self._lookup.close()
        if self._shared is not None:
            await self._shared.close()

    async def look(self, keys: Sequence[ClaimKey], known: int | None) -> Seen:
        """The owners of keys: as of now, or of any time since ``known``, if that is given.

        Raises as `BatchedLookup.look` does.
        """
        if known is None or not keys:
            return await self._lookup.look(keys)
        found = self._cache.get(keys, known, time.monotonic())
        self._observer.cache_counted(CACHE, "misses" if found is None else "hits", 1)
        if found is None and self._shared is not None and self._cache.database:
            found = await self._get_shared(self._shared, keys, known)
        if found is not None:
            return found
        seen = await self._lookup.look(keys)
        await self._keep(keys, seen)
        return seen

    async def _get_shared(
        self, shared: Shared, keys: Sequence[ClaimKey], known: int
    ) -> Seen | None:
        """The owners by way of the second level; what it has comes into the first."""
        cache = self._cache
        lacking = cache.lacks(keys, known)
        if not lacking:
            return None
        database = cache.database
        entries = zip(lacking, await shared.get(database, lacking), strict=True)
        found = None
        if database == cache.database:
            cache.admit([(key, entry) for key, entry in entries if entry], time.monotonic())
            found = cache.get(keys, known, time.monotonic())
        self._observer.cache_counted(SHARED, "misses" if found is None else "hits", 1)
        return found

    async def _keep(self, keys: Sequence[ClaimKey], seen: Seen) -> None:
        cache = self._cache
        if not cache.knows(seen):
            await self._learn(seen)
        if cache.database != seen.database:
            return
        evictions = cache.evictions
        cache.put(keys, seen, time.monotonic())
        if cache.evictions > evictions:
            self._observer.cache_counted(CACHE, "evictions", cache.evictions - evictions)
        if self._shared is not None and seen.database:
            self._shared.put(seen.database, owned(keys, seen))

    async def _learn(self, seen: Seen) -> None:
        """Read all epochs; once, however many questions find out that they have changed."""
        async with self._learning:
            if not self._cache.knows(seen):
                self._cache.learn(await self._lookup.epochs())


def owned(keys: Sequence[ClaimKey], seen: Seen) -> list[tuple[ClaimKey, Entry]]:
    """What others may use of a look-up: no name that is nobody's, so that no flood of them fills
    what is shared, and a new name is seen by all as soon as by one."""
    params, _, places = normalised(keys)
    asked = list(zip(params[::2], params[1::2], strict=True))
    owners = seen.owners if places is None else [seen.owners[place] for place in places]
    return [
        (key, Entry(seen.revision, owner))
        for key, owner in zip(asked, owners, strict=True)
        if owner is not None
    ]
