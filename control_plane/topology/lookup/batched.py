"""Look-ups on PostgreSQL for many questions at once, without blocking the event loop.

A statement for each question would cost a round trip and a connection each, and thousands of
questions a second need neither. So a question that comes while all connections are busy waits, and
goes out in one statement with all others that wait. A key that several of them ask for is looked up
once. With two connections, three questions go like this::

    ask (tenant, a)                        -> sent at once over connection 1
    ask (tenant, b)                        -> sent at once over connection 2
    ask (tenant, a), ask (tenant, c)       -> wait
    connection 1 answers                   -> sends both at once: ((tenant, a), (tenant, c))

No question joins a statement that was sent before it came, not even for the same key: the answer
could be older than the question, and the caller may know of a change in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sqlalchemy import Engine

from control_plane.topology.lookup.async_connection import LOOKUP_S, AsyncConnection
from control_plane.topology.lookup.seen import Epochs, Seen
from control_plane.topology.values import (
    ClaimKey,
    KeyPair,
    NormalisedKeys,
    TopologyError,
    Unavailable,
)

CONNECTIONS = 2
"""Statements on their way at once."""
MAX_BATCH = 256
"""Questions in one statement."""
MAX_WAITING = 1024
"""Questions that may wait; more are refused at once."""
_BROKEN_OFF = "the look-up was broken off"
_OWNERS_SQL = """
SELECT r.revision, r.edge_revision, (SELECT max(e.revision) FROM epochs e), k.number,
    coalesce(c.hold, c.cell_id)
FROM revisions r
LEFT JOIN unnest(%s::text[], %s::text[]) WITH ORDINALITY AS k (bucket, value, number) ON true
LEFT JOIN claims c ON c.bucket = k.bucket AND c.value = k.value"""
_EPOCHS_SQL = """
SELECT r.revision, r.edge_revision, e.shard, e.revision
FROM revisions r LEFT JOIN epochs e ON true"""
type _Batch = Sequence[tuple[NormalisedKeys, asyncio.Future[Seen]]]


class TooManyLookups(TopologyError):
    """More look-ups wait for the database than may."""


class BatchedLookup:
    """Owners of claims, looked up in batches.

    Each event loop has its own. It connects when it is first asked.
    """

    def __init__(self, engine: Engine) -> None:
        arguments, options = engine.dialect.create_connect_args(engine.url)
        self._target = (tuple(arguments), dict(options))
        self._waiting: list[tuple[NormalisedKeys, asyncio.Future[Seen]]] = []
        self._connections = [AsyncConnection(self._target) for _ in range(CONNECTIONS)]
        self._idle = list(self._connections)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def waiting(self) -> int:
        """The number of questions that wait."""
        return len(self._waiting)

    async def close(self) -> None:
        """Break off the statements that are under way, and close every connection."""
        self._closed = True
        _fail(self._waiting, Unavailable(_BROKEN_OFF))
        self._waiting.clear()
        for connection in self._connections:
            connection.cut()
        if self._tasks:
            # A task that is connecting is not broken off, but it has a time limit.
            await asyncio.wait(self._tasks, timeout=2 * LOOKUP_S)
        for connection in tuple(self._connections):
            await connection.close()

    async def owners_of(self, keys: Sequence[KeyPair]) -> Seen:
        """Return the owners of keys, and what is committed, as of one moment after this call.

        Raises:
            TooManyLookups: `MAX_WAITING` questions wait already.
            Unavailable: the database can't be reached, or does not answer within `LOOKUP_S`.
        """
        if self._closed:
            raise Unavailable("the look-up is closed")
        if len(self._waiting) >= MAX_WAITING:
            raise TooManyLookups(f"{MAX_WAITING} look-ups wait for the database")
        future: asyncio.Future[Seen] = asyncio.get_running_loop().create_future()
        self._waiting.append((NormalisedKeys.of(keys), future))
        if self._idle:
            self._start(self._idle.pop())
        return await future

    async def epochs(self) -> Epochs:
        """Read all epochs as of one moment; raise as `owners_of` does."""
        connection = AsyncConnection(self._target)
        self._connections.append(connection)
        try:
            rows = await connection.rows(_EPOCHS_SQL)
        except TimeoutError as error:
            raise _late() from error
        finally:
            self._connections.remove(connection)
            await connection.close()
        epochs = {shard: revision for _, _, shard, revision in rows if shard is not None}
        return Epochs(rows[0][0], rows[0][1], epochs, connection.database)

    def _start(self, connection: AsyncConnection) -> None:
        task = asyncio.create_task(self._send_waiting(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_waiting(self, connection: AsyncConnection) -> None:
        """Send the questions that wait, a batch in each statement, until none waits."""
        try:
            while self._waiting:
                batch = self._waiting[:MAX_BATCH]
                del self._waiting[:MAX_BATCH]
                try:
                    await self._send(connection, batch)
                except (TopologyError, TimeoutError) as error:
                    _fail(batch, error if isinstance(error, TopologyError) else _late())
                    await connection.close()
                finally:
                    _fail(batch, Unavailable(_BROKEN_OFF))
        finally:
            self._idle.append(connection)

    async def _send(self, connection: AsyncConnection, batch: _Batch) -> None:
        """Answer a batch by one statement; if the connection is lost, connect again once."""
        numbers: dict[ClaimKey, int] = {}
        for keys, _ in batch:
            for key in keys.keys:
                numbers.setdefault(key, len(numbers))
        arrays = ([key.bucket for key in numbers], [key.value for key in numbers])
        try:
            rows = await connection.rows(_OWNERS_SQL, arrays)
        except Unavailable:
            await connection.close()
            if self._closed:
                raise
            rows = await connection.rows(_OWNERS_SQL, arrays)
        owners: list[int | None] = [None] * len(numbers)
        for _, _, _, number, owner in rows:
            if number is not None:
                owners[number - 1] = owner
        revision, edge_revision, epoch = rows[0][:3]
        for keys, future in batch:
            if not future.done():
                own = keys.spread([owners[numbers[key]] for key in keys.keys])
                future.set_result(
                    Seen(revision, edge_revision, own, keys.shards, epoch or 0, connection.database)
                )


def _late() -> Unavailable:
    return Unavailable(f"no answer within {LOOKUP_S} s")


def _fail(batch: _Batch, error: TopologyError) -> None:
    """Fail every question of a batch that has no answer yet."""
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
