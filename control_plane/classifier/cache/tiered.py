"""Look-ups by way of the caches: the table of owners, the process's own, Redis, then the database.

They are for PostgreSQL only. On SQLite a look-up takes microseconds, and to learn that nothing was
committed takes nearly as long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from control_plane.classifier.cache.memory import OwnerCache
from control_plane.classifier.cache.protocol import (
    PROCESS_CACHE,
    SHARED_CACHE,
    TABLE,
    CacheObserver,
    Entry,
    SharedOwnerCache,
)
from control_plane.classifier.cache.table import OwnersTable
from control_plane.owners.mapped.reader import open_shared
from control_plane.topology import Topology
from control_plane.topology.lookup.batched import BatchedLookup
from control_plane.topology.lookup.seen import Seen
from control_plane.topology.values import ClaimKey, KeyPair, NormalisedKeys, TopologyError


def open_cached_lookup(
    topology: Topology,
    observer: CacheObserver,
    redis_url: str | None = None,
    shared_files: Path | None = None,
) -> CachedLookup | None:
    """Open look-ups with caches for one event loop; None on SQLite. The caller closes them.

    Args:
        topology: Whose claims are looked up.
        observer: Is told what the caches do.
        redis_url: A Redis that classifiers share.
        shared_files: Where the server shares its table of owners, if it does.
    """
    lookup = topology.batched_lookup()
    if lookup is None:
        return None
    shared = None
    if redis_url is not None:
        # Redis' client takes as long to import as all the rest of a classifier: only if it is used.
        from control_plane.classifier.cache.redis import RedisCache

        shared = RedisCache(redis_url, observer)
    owners = None if shared_files is None else open_shared(shared_files)
    table = None if owners is None else OwnersTable(owners)
    return CachedLookup(lookup, OwnerCache(), observer, shared, table)


class CachedLookup:
    """A `BatchedLookup` behind an `OwnerCache`, and perhaps a table of owners and a Redis.

    Each event loop has its own.
    """

    def __init__(
        self,
        lookup: BatchedLookup,
        cache: OwnerCache,
        observer: CacheObserver,
        shared: SharedOwnerCache | None = None,
        table: OwnersTable | None = None,
    ) -> None:
        self._lookup = lookup
        self._cache = cache
        self._observer = observer
        self._shared = shared
        self._table = table
        self._reading_epochs = asyncio.Lock()

    async def close(self) -> None:
        """Close the connections."""
        await self._lookup.close()
        if self._shared is not None:
            await self._shared.close()

    async def owners_of(self, keys: Sequence[KeyPair], at_least: int | None) -> Seen:
        """Return the owners of keys; raise as `BatchedLookup.owners_of` does.

        Args:
            keys: Keys in any spelling; without keys, the answer is only what is committed.
            at_least: The answer may come from a cache if it holds as of this revision or a later
                one. None: it must be as of now.
        """
        if at_least is None:
            return await self._lookup.owners_of(keys)
        normalised = NormalisedKeys.of(keys)
        cached = None
        if self._table is not None:
            cached = self._table_owners_of(self._table, normalised, at_least)
        if cached is None and keys:
            cached = self._cache.owners_of(normalised, at_least, time.monotonic())
            self._observer.cache_counted(PROCESS_CACHE, "misses" if cached is None else "hits", 1)
            if cached is None and self._shared is not None and self._cache.database:
                cached = await self._shared_owners_of(self._shared, normalised, at_least)
        if cached is not None:
            return cached
        return await self._ask_database(keys, normalised, at_least)

    def _table_owners_of(
        self, table: OwnersTable, keys: NormalisedKeys, at_least: int
    ) -> Seen | None:
        seen = table.owners_of(keys, at_least, time.monotonic())
        self._observer.cache_counted(TABLE, "misses" if seen is None else "hits", 1)
        return seen

    async def _ask_database(
        self, keys: Sequence[KeyPair], normalised: NormalisedKeys, at_least: int
    ) -> Seen:
        """Look up what no cache has; if the database is away, the table may know it yet."""
        try:
            seen = await self._lookup.owners_of(keys)
        except TopologyError:
            if self._table is None:
                raise
            self._table.database_failed(time.monotonic())
            last = self._table_owners_of(self._table, normalised, at_least)
            if last is None:
                raise
            return last
        if keys:
            await self._keep(normalised, seen)
        return seen

    async def _shared_owners_of(
        self, shared: SharedOwnerCache, keys: NormalisedKeys, at_least: int
    ) -> Seen | None:
        """Copy what the shared cache has into the process's own, and answer from there."""
        cache = self._cache
        missing = cache.missing(keys, at_least)
        if not missing:
            return None
        database = cache.database
        entries = zip(missing, await shared.owners_of(database, missing), strict=True)
        seen = None
        if database == cache.database:
            cache.admit([(key, entry) for key, entry in entries if entry], time.monotonic())
            seen = cache.owners_of(keys, at_least, time.monotonic())
        self._observer.cache_counted(SHARED_CACHE, "misses" if seen is None else "hits", 1)
        return seen

    async def _keep(self, keys: NormalisedKeys, seen: Seen) -> None:
        """Keep what the database answered, in both caches."""
        cache = self._cache
        if not cache.note(seen):
            await self._read_epochs(seen)
        if cache.database != seen.database:
            return
        evictions = cache.evictions
        cache.put(keys, seen, time.monotonic())
        if cache.evictions > evictions:
            self._observer.cache_counted(PROCESS_CACHE, "evictions", cache.evictions - evictions)
        if self._shared is not None and seen.database:
            self._shared.put(seen.database, shareable(keys, seen))

    async def _read_epochs(self, seen: Seen) -> None:
        """Read all epochs: once, however many look-ups find that they have changed."""
        async with self._reading_epochs:
            if not self._cache.note(seen):
                self._cache.set_epochs(await self._lookup.epochs())


def shareable(keys: NormalisedKeys, seen: Seen) -> list[tuple[ClaimKey, Entry]]:
    """Return the entries of a look-up that others may use: only names that a cell owns.

    So no flood of names that nobody owns can fill the shared cache, and all processes see a new
    name as soon as one does.
    """
    owners = [owner for place, owner in enumerate(seen.owners) if place not in keys.left_out]
    return [
        (key, Entry(seen.revision, owner))
        for key, owner in zip(keys.keys, owners, strict=True)
        if owner is not None and owner > 0
    ]
