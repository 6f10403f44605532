"""The shared cache of owners: what other classifiers have looked up, in Redis.

It can only spare the database a question. Whatever goes wrong with Redis is counted, and the
database is asked. What answers may be no Redis at all: its client then raises RecursionError,
ValueError or TypeError, too. `OwnerCache` says whether an entry may be used.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from control_plane.classifier.cache.protocol import SHARED_CACHE, CacheObserver, Entry
from control_plane.topology.values import ClaimKey

log = logging.getLogger(__name__)
ENTRY_S = 50
"""How long Redis keeps an entry.

With `memory.SHARED_S` that makes no more than `memory.OWNED_S`, the life of a classifier's own
entries.
"""
ANSWER_S = 0.05
"""How long Redis may take, connecting included. The edge waits 0.25 s for the whole answer."""
PAUSE_S = 1.0
"""How long Redis is left alone after a failure."""
MAX_PER_COMMAND = 256
"""Questions in one command, and entries in one pipeline."""
MAX_WAITING_FOR_REDIS = 1024
"""Questions that may wait for Redis; more go straight to the database."""
MAX_UNSENT = 4096
"""Entries that may wait to be written; more are left out."""
MAX_NUMBER_CHARS = 19
"""Of a revision or an owner; both have 63 bits."""
type _Question = tuple[list[bytes], asyncio.Future[list[Entry | None]]]
"""The names of the entries that a caller asks for, and the future of its answer."""


class _Breaker:
    """Tells whether Redis may be used: after a failure it is left alone for `PAUSE_S`."""

    def __init__(self, use: str, observer: CacheObserver, clock: Callable[[], float]) -> None:
        """``use`` completes the log's "Redis can't be": ``read`` or ``written``."""
        self._use = use
        self._observer = observer
        self._clock = clock
        self._usable_at = float("-inf")
        self._failing = False

    @property
    def is_usable(self) -> bool:
        """Whether Redis may be used now."""
        return self._clock() >= self._usable_at

    def succeeded(self) -> None:
        """Record a success; log it after a failure."""
        if self._failing:
            self._failing = False
            log.warning("Redis can be %s again", self._use)

    def failed(self, error: Exception) -> None:
        """Count a failure, and log it unless the one before was a failure too."""
        self._usable_at = self._clock() + PAUSE_S
        self._observer.cache_counted(SHARED_CACHE, "errors", 1)
        if not self._failing:
            self._failing = True
            why = " ".join(str(error).split())[:200] or f"no answer within {ANSWER_S} s"
            log.warning("Redis can't be %s, the database is asked: %s", self._use, why)


def name_of(database: str, key: ClaimKey) -> bytes:
    """Return the name of an entry in Redis; ``database`` tells databases behind one Redis apart."""
    return f"cellway:owner:{database}:{key.bucket}:{key.value}".encode()


def encode(name: bytes, entry: Entry) -> bytes:
    """Return an entry as Redis keeps it: revision, owner, and its own name (see `decode`)."""
    return b"%d %d " % (entry.revision, entry.owner) + name


def decode(name: bytes, value: object) -> Entry | None:
    """Return the entry that was kept under a name; None for anything else.

    The value repeats the name, so that a reply to another question can never be taken for this
    one's.
    """
    if not isinstance(value, bytes):
        return None
    parts = value.split(b" ", 2)
    if len(parts) != 3 or parts[2] != name:
        return None
    if not all(part.isdigit() and len(part) <= MAX_NUMBER_CHARS for part in parts[:2]):
        return None
    return Entry(int(parts[0]), int(parts[1]))


class RedisCache:
    """The `SharedOwnerCache` in Redis: it reads and writes in batches, one of each at a time.

    Each event loop has its own. It connects when it is first asked.
    """

    def __init__(
        self, url: str, observer: CacheObserver, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``url`` begins with ``redis://``, ``rediss://`` or ``unix://``."""
        self._redis: Redis = Redis.from_url(
            url,
            protocol=2,
            socket_timeout=ANSWER_S,
            socket_connect_timeout=ANSWER_S,
            retry=Retry(NoBackoff(), 0),
            driver_info=None,
        )
        self._waiting: list[_Question] = []
        self._unsent: dict[bytes, bytes] = {}
        self._reading: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._reads = _Breaker("read", observer, clock)
        self._writes = _Breaker("written", observer, clock)

    async def close(self) -> None:
        """Break off what is under way, and close the connections."""
        tasks = [task for task in (self._reading, self._writing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        _answer(self._waiting, {})
        self._waiting.clear()
        await self._redis.aclose()

    async def owners_of(self, database: str, keys: Sequence[ClaimKey]) -> list[Entry | None]:
        """Return the entry of each key, or None; see `SharedOwnerCache.owners_of`."""
        if not self._reads.is_usable or len(self._waiting) >= MAX_WAITING_FOR_REDIS:
            return [None] * len(keys)
        future: asyncio.Future[list[Entry | None]] = asyncio.get_running_loop().create_future()
        self._waiting.append(([name_of(database, key) for key in keys], future))
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        return await future

    def put(self, database: str, entries: Sequence[tuple[ClaimKey, Entry]]) -> None:
        """Keep entries, soon; the caller does not wait for that."""
        if not self._writes.is_usable:
            return
        for key, entry in entries:
            if len(self._unsent) < MAX_UNSENT:
                name = name_of(database, key)
                self._unsent[name] = encode(name, entry)
        if self._unsent and (self._writing is None or self._writing.done()):
            self._writing = asyncio.create_task(self._write())

    async def _read(self) -> None:
        """Answer the questions that wait, a batch in each command, until none waits."""
        while self._waiting:
            # After a failure, all questions that wait get an empty answer at once.
            size = MAX_PER_COMMAND if self._reads.is_usable else len(self._waiting)
            batch = self._waiting[:size]
            del self._waiting[:size]
            entries: dict[bytes, Entry | None] = {}
            try:
                if self._reads.is_usable:
                    entries = await self._mget(batch)
                    self._reads.succeeded()
            except Exception as error:  # noqa: BLE001 - whatever goes wrong, as above
                self._reads.failed(error)
            finally:
                _answer(batch, entries)

    async def _mget(self, batch: Sequence[_Question]) -> dict[bytes, Entry | None]:
        names = list(dict.fromkeys(name for asked, _ in batch for name in asked))
        async with asyncio.timeout(ANSWER_S):
            values: list[Any] = await self._redis.mget(names)
        return {name: decode(name, value) for name, value in zip(names, values, strict=True)}

    async def _write(self) -> None:
        """Write the entries that wait, a batch in each pipeline, until none waits."""
        while self._unsent:
            names = list(self._unsent)[:MAX_PER_COMMAND]
            try:
                async with (
                    asyncio.timeout(ANSWER_S),
                    self._redis.pipeline(transaction=False) as pipeline,
                ):
                    for name in names:
                        pipeline.set(name, self._unsent.pop(name), ex=ENTRY_S)
                    await pipeline.execute()
                self._writes.succeeded()
            except Exception as error:  # noqa: BLE001 - whatever goes wrong, as above
                self._unsent.clear()
                self._writes.failed(error)


def _answer(batch: Sequence[_Question], entries: Mapping[bytes, Entry | None]) -> None:
    for names, future in batch:
        if not future.done():
            future.set_result([entries.get(name) for name in names])
