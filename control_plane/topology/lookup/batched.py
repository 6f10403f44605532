"""Look-ups on PostgreSQL for many questions at once, without blocking the event loop.

What is asked while a statement is on its way waits and goes out together with the next: one round
trip for all, and a key that many ask for is looked up once. Nobody joins a statement that has
already been sent, so an answer is never older than its question.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Sequence
from typing import Any, LiteralString

import psycopg
from sqlalchemy import Engine

from control_plane.topology.lookup.interface import Epochs, Seen, normalised, seen_of
from control_plane.topology.storage.driver_errors import translated_errors
from control_plane.topology.values.errors import TopologyError, Unavailable

CONNECTIONS = 2
"""Statements on their way at once."""
MAX_BATCH = 256
"""Questions in one statement."""
MAX_WAITING = 1024
"""Questions that may wait; more are refused at once."""
LOOK_S = 1.0
"""How long a statement may take; the edge has long given up then."""
_BROKEN_OFF = "the look-up was broken off"
_SQL = """
SELECT r.revision, r.edge_revision, (SELECT max(e.revision) FROM epochs e), k.number, c.cell_id
FROM revisions r
LEFT JOIN unnest(%s::text[], %s::text[]) WITH ORDINALITY AS k (bucket, value, number) ON true
LEFT JOIN claims c ON c.bucket = k.bucket AND c.value = k.value"""
_EPOCHS_SQL = """
SELECT r.revision, r.edge_revision, e.shard, e.revision
FROM revisions r LEFT JOIN epochs e ON true"""
_DATABASE_SQL = """
SELECT s.system_identifier, substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), d.oid,
    'revisions'::regclass::oid
FROM pg_control_system() s, pg_database d WHERE d.datname = current_database()"""
"""What tells histories of revisions apart: the cluster, its timeline (another one after each
promotion or recovery to a point in time), the database, and the table (another after a restore)."""
_Key = tuple[str, str]
_Row = tuple[Sequence[Any], int, str]
"""Both revisions and owners; the newest epoch; the database."""
_Batch = Sequence[tuple[list[str], asyncio.Future[_Row]]]


class _Link:
    """A connection that may be there."""

    def __init__(self, target: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
        self._target = target
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._late = False
        self.database = ""
        """The name of the database, once connected; "" on a server that can't tell."""

    async def rows(self, sql: LiteralString, params: Sequence[list[str]] = ()) -> list[Any]:
        """What a statement gives; connects where needed.

        Raises:
            Unavailable: the server is lost.
            DatabaseFailed: the server refuses the statement.
            TimeoutError: to connect, or the answer, takes longer than `LOOK_S`.
        """
        if self._connection is None:
            arguments, options = self._target
            options = options | {"autocommit": True}
            with translated_errors:
                async with asyncio.timeout(LOOK_S):
                    self._connection = await psycopg.AsyncConnection.connect(*arguments, **options)
            self.database = await self._named()
        return await self._rows(sql, params)

    async def _named(self) -> str:
        """The database's name. A hot standby has none: it may be behind what others have seen."""
        try:
            (row,) = await self._rows(_DATABASE_SQL)
        except TopologyError:
            if self._connection is None or self._connection.closed:
                raise
            return ""
        return "-".join(map(str, row))

    async def _rows(self, sql: LiteralString, params: Sequence[list[str]] = ()) -> list[Any]:
        connection = self._connection
        assert connection is not None
        self._late = False
        # Not asyncio.timeout: psycopg answers a cancellation by asking the server to cancel, too,
        # and waits for that; for many seconds if the server hangs.
        alarm = asyncio.get_running_loop().call_later(LOOK_S, self.cut)
        try:
            with translated_errors:
                cursor = await connection.execute(sql, params, prepare=True)
                return await cursor.fetchall()
        except Unavailable as error:
            if self._late:
                raise TimeoutError from error
            raise
        finally:
            alarm.cancel()

    def cut(self) -> None:
        """Have what waits for an answer fail at once."""
        self._late = True
        if self._connection is not None and not self._connection.closed:
            # A duplicate, so that closing it leaves psycopg its own.
            number = os.dup(self._connection.fileno())
            with socket.socket(fileno=number) as sock, contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    async def close(self) -> None:
        """Close it, if it is there."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(TopologyError), translated_errors:
                await connection.close()


class TooManyLookups(TopologyError):
    """More look-ups wait for the database than may."""


class BatchedLookup:
    """Owners of claims, batched. One per event loop; connects when first asked."""

    def __init__(self, engine: Engine) -> None:
        arguments, options = engine.dialect.create_connect_args(engine.url)
        self._target = (tuple(arguments), dict(options))
        self._waiting: list[tuple[list[str], asyncio.Future[_Row]]] = []
        self._links = [_Link(self._target) for _ in range(CONNECTIONS)]
        self._idle = list(self._links)
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def waiting(self) -> int:
        """Questions that wait."""
        return len(self._waiting)

    async def close(self) -> None:
        """Break off what is on its way, and close every connection."""
        self._closed = True
        _fail(self._waiting, Unavailable(_BROKEN_OFF))
        self._waiting.clear()
        for link in self._links:
            link.cut()
        if self._running:
            # Who is connecting is not cut off, but has a bound.
            await asyncio.wait(self._running, timeout=2 * LOOK_S)
        for link in tuple(self._links):
            await link.close()

    async def look(self, keys: Sequence[_Key]) -> Seen:
        """The owners of keys and what is committed, as of one moment after this call.

        Raises:
            TooManyLookups: `MAX_WAITING` wait already.
            Unavailable: the database can't be reached, or does not answer within `LOOK_S`.
        """
        if self._closed:
            raise Unavailable("the look-up is closed")
        if len(self._waiting) >= MAX_WAITING:
            raise TooManyLookups(f"{MAX_WAITING} look-ups wait for the database")
        params, shards, places = normalised(keys)
        future: asyncio.Future[_Row] = asyncio.get_running_loop().create_future()
        self._waiting.append((params, future))
        if self._idle:
            self._send(self._idle.pop())
        row, epoch, database = await future
        seen = seen_of(row, len(keys), shards, places)
        return seen._replace(epoch=epoch, database=database)

    async def epochs(self) -> Epochs:
        """All epochs, as of one moment; raises as `look` does."""
        link = _Link(self._target)
        self._links.append(link)
        try:
            rows = await link.rows(_EPOCHS_SQL)
        except TimeoutError as error:
            raise _late() from error
        finally:
            self._links.remove(link)
            await link.close()
        epochs = {shard: at for _, _, shard, at in rows if shard is not None}
        return Epochs(rows[0][0], rows[0][1], epochs, link.database)

    def _send(self, link: _Link) -> None:
        task = asyncio.create_task(self._work(link))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _work(self, link: _Link) -> None:
        """Send what waits, a batch a statement, until nothing waits."""
        try:
            while self._waiting:
                batch = self._waiting[:MAX_BATCH]
                del self._waiting[:MAX_BATCH]
                try:
                    await self._ask(link, batch)
                except (TopologyError, TimeoutError) as error:
                    _fail(batch, error if isinstance(error, TopologyError) else _late())
                    await link.close()
                finally:
                    _fail(batch, Unavailable(_BROKEN_OFF))
        finally:
            self._idle.append(link)

    async def _ask(self, link: _Link, batch: _Batch) -> None:
        """Answer a batch by one statement; a connection that was lost is made anew, once."""
        keys: dict[_Key, int] = {}
        for params, _ in batch:
            for key in zip(params[::2], params[1::2], strict=True):
                keys.setdefault(key, len(keys))
        arrays = ([bucket for bucket, _ in keys], [value for _, value in keys])
        try:
            rows = await link.rows(_SQL, arrays)
        except Unavailable:
            await link.close()
            if self._closed:
                raise
            rows = await link.rows(_SQL, arrays)
        known, epoch = rows[0][:2], rows[0][2] or 0
        owners: list[int | None] = [None] * len(keys)
        for _, _, _, number, owner in rows:
            if number is not None:
                owners[number - 1] = owner
        for params, future in batch:
            if not future.done():
                asked = zip(params[::2], params[1::2], strict=True)
                row = (*known, *(owners[keys[key]] for key in asked))
                future.set_result((row, epoch, link.database))


def _late() -> Unavailable:
    return Unavailable(f"no answer within {LOOK_S} s")


def _fail(batch: _Batch, error: TopologyError) -> None:
    """Whoever of a batch has no answer yet gets none."""
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
