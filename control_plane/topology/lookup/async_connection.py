"""A connection to PostgreSQL for an event loop, which no hanging server can hold up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, LiteralString

from control_plane.topology.storage import HISTORY_SQL, is_elsewhere, translated_errors
from control_plane.topology.values import TopologyError, Unavailable

if TYPE_CHECKING:
    import psycopg

LOOKUP_S = 1.0
"""How long it may take to connect, or to get an answer. The edge has long given up by then."""
type Target = tuple[Sequence[Any], dict[str, Any]]
"""The arguments and the options of psycopg's ``connect``."""


class AsyncConnection:
    """A connection that is made when it is first needed, and again when it was closed."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._was_cut = False
        self.database = ""
        """The name of the database, once connected; "" where the server can't tell it."""

    async def rows(self, sql: LiteralString, params: Sequence[list[str]] = ()) -> list[Any]:
        """Return the rows of a statement; connect first where needed.

        Raises:
            Unavailable: the connection is lost, or none can be made.
            DatabaseFailed: the server refuses the statement.
            TimeoutError: to connect, or the answer, takes longer than `LOOKUP_S`.
        """
        if self._connection is not None and is_elsewhere(self._connection):
            await self.close()
        if self._connection is None:
            self._connection = await self._connect()
            self.database = await self._database_name()
        return await self._rows(sql, params)

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        # psycopg is an extra: without it this module is imported, but nothing connects.
        from psycopg import AsyncConnection as Connection

        arguments, options = self._target
        options = options | {"autocommit": True}
        with translated_errors:
            async with asyncio.timeout(LOOKUP_S):
                return await Connection.connect(*arguments, **options)

    async def _database_name(self) -> str:
        """Return the name; "" on a hot standby, which may be behind what others have seen."""
        try:
            (row,) = await self._rows(HISTORY_SQL)
        except TopologyError:
            if self._connection is None or self._connection.closed:
                raise
            return ""
        return "-".join(map(str, row))

    async def _rows(self, sql: LiteralString, params: Sequence[list[str]] = ()) -> list[Any]:
        connection = self._connection
        assert connection is not None
        self._was_cut = False
        # asyncio.timeout would not do: when psycopg is cancelled, it asks the server to cancel too,
        # and waits for that; many seconds if the server hangs.
        alarm = asyncio.get_running_loop().call_later(LOOKUP_S, self.cut)
        try:
            with translated_errors:
                cursor = await connection.execute(sql, params, prepare=True)
                return await cursor.fetchall()
        except Unavailable as error:
            if self._was_cut:
                raise TimeoutError from error
            raise
        finally:
            alarm.cancel()

    def cut(self) -> None:
        """Make the statement that waits for an answer fail at once."""
        self._was_cut = True
        if self._connection is not None and not self._connection.closed:
            # A duplicate, so that psycopg's own descriptor stays open for psycopg to close.
            number = os.dup(self._connection.fileno())
            with socket.socket(fileno=number) as sock, contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    async def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(TopologyError), translated_errors:
                await connection.close()
