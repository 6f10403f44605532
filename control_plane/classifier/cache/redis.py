"""The second level of the owners' cache: what other classifiers have looked up, in Redis.

It can only save a question the way to the database: whatever goes wrong with it is counted, and
the database is asked. Whether an entry may be used is for `OwnerCache` to say.
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
from redis.exceptions import RedisError

from control_plane.classifier.cache.memory import Entry
from control_plane.classifier.cache.tiered import SHARED, Observer
from control_plane.routing.model import ClaimKey

log = logging.getLogger(__name__)
KEPT_S = 50
"""In Redis. With `OwnerCache.SHARED_KEPT_S` no longer than what a classifier keeps by itself."""
ANSWER_S = 0.05
"""How long Redis may take, connecting included; the edge waits 0.25 s for all."""
PAUSE_S = 1.0
"""How long Redis is left alone after it failed."""
MAX_PER_COMMAND = 256
"""Questions in one command, and entries in one pipeline."""
MAX_WAITING_FOR_REDIS = 1024
"""Questions that may wait for Redis; more go straight to the database."""
MAX_UNSENT = 4096
"""Entries that wait to be written; more are left out."""
FAILURES = (RedisError, OSError, TimeoutError)
_Wanted = tuple[list[bytes], asyncio.Future[list[Entry | None]]]


class _Trust:
    """Whether Redis is to be asked (or told): after a failure it is left alone for a while."""

    def __init__(self, what: str, observer: Observer, clock: Callable[[], float]) -> None:
        self._what = what
        self._observer = observer
        self._clock = clock
        self._again_at = float("-inf")
        self._failing = False

    def __bool__(self) -> bool:
        return self._clock() >= self._again_at

    def well(self) -> None:
        """It worked."""
        if self._failing:
            self._failing = False
            log.warning("Redis can be %s again", self._what)

    def failed(self, error: Exception) -> None:
        """It did not: counted each time, and logged once until it works again."""
        self._again_at = self._clock() + PAUSE_S
        self._observer.cache_counted(SHARED, "errors", 1)
        if not self._failing:
            self._failing = True
            why = " ".join(str(error).split())[:200] or f"no answer within {ANSWER_S} s"
            log.warning("Redis can't be %s, the database is asked: %s", self._what, why)


def name_of(database: str, key: ClaimKey) -> bytes:
    """The name of an entry in Redis; ``database`` tells databases behind one Redis apart."""
    return f"cellway:owner:{database}:{key[0]}:{key[1]}".encode()


def encode(name: bytes, entry: Entry) -> bytes:
    """An entry as it is kept: revision, owner, and its own name (see `decode`)."""
    return b"%d %d " % (entry.revision, entry.owner) + name


def decode(name: bytes, value: object) -> Entry | None:
    """What was kept under a name; None for anything else.

    The name is looked at again, so that a reply to another question can never be taken for ours.
    """
    if not isinstance(value, bytes):
        return None
    parts = value.split(b" ", 2)
    if len(parts) != 3 or parts[2] != name or not (parts[0].isdigit() and parts[1].isdigit()):
        return None
    return Entry(int(parts[0]), int(parts[1]))


class SharedCache:
    """Reads and writes in batches, one of each at a time. One per event loop; never raises."""

    def __init__(
        self, url: str, observer: Observer, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``url``: redis://, rediss:// or unix://. Connects when first asked."""
        self._redis: Redis = Redis.from_url(
            url,
            protocol=2,
            socket_timeout=ANSWER_S,
            socket_connect_timeout=ANSWER_S,
            retry=Retry(NoBackoff(), 0),
            driver_info=None,
        )
        self._waiting: list[_Wanted] = []
        self._unsent: dict[bytes, bytes] = {}
        self._reading: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._reads = _Trust("read", observer, clock)
        self._writes = _Trust("written", observer, clock)

    async def close(self) -> None:
        """Break off what is under way, and close the connections."""
        tasks = [task for task in (self._reading, self._writing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        _answer(self._waiting, {})
        self._waiting.clear()
        await self._redis.aclose()

    async def get(self, database: str, keys: Sequence[ClaimKey]) -> list[Entry | None]:
        """What is kept of each key (normalised): perhaps too old, see `OwnerCache.admit`."""
        if not self._reads or len(self._waiting) >= MAX_WAITING_FOR_REDIS:
            return [None] * len(keys)
        future: asyncio.Future[list[Entry | None]] = asyncio.get_running_loop().create_future()
        self._waiting.append(([name_of(database, key) for key in keys], future))
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        return await future

    def put(self, database: str, entries: Sequence[tuple[ClaimKey, Entry]]) -> None:
        """Keep entries, soon; nobody waits for that."""
        if not self._writes:
            return
        for key, entry in entries:
            if len(self._unsent) < MAX_UNSENT:
                name = name_of(database, key)
                self._unsent[name] = encode(name, entry)
        if self._unsent and (self._writing is None or self._writing.done()):
            self._writing = asyncio.create_task(self._write())

    async def _read(self) -> None:
        """Answer what waits, a batch a command, until nothing waits."""
        while self._waiting:
            # What came before a failure was known does not wait for another.
            most = MAX_PER_COMMAND if self._reads else len(self._waiting)
            batch = self._waiting[:most]
            del self._waiting[:most]
            found: dict[bytes, Entry | None] = {}
            try:
                if self._reads:
                    found = await self._mget(batch)
                    self._reads.well()
            except FAILURES as error:
                self._reads.failed(error)
            finally:
                _answer(batch, found)

    async def _mget(self, batch: Sequence[_Wanted]) -> dict[bytes, Entry | None]:
        names = list(dict.fromkeys(name for wanted, _ in batch for name in wanted))
        async with asyncio.timeout(ANSWER_S):
            values: list[Any] = await self._redis.mget(names)
        return {name: decode(name, value) for name, value in zip(names, values, strict=True)}

    async def _write(self) -> None:
        """Write what waits, until nothing waits."""
        while self._unsent:
            names = list(self._unsent)[:MAX_PER_COMMAND]
            try:
                async with (
                    asyncio.timeout(ANSWER_S),
                    self._redis.pipeline(transaction=False) as pipeline,
                ):
                    for name in names:
                        pipeline.set(name, self._unsent.pop(name), ex=KEPT_S)
                    await pipeline.execute()
                self._writes.well()
            except FAILURES as error:
                self._unsent.clear()
                self._writes.failed(error)


def _answer(batch: Sequence[_Wanted], found: Mapping[bytes, Entry | None]) -> None:
    for names, future in batch:
        if not future.done():
            future.set_result([found.get(name) for name in names])
