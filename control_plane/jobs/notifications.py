"""Hears of other processes' commits at once, by PostgreSQL's NOTIFY.

Hints only: what is lost, late, doubled or out of order does no harm, since whoever is woken reads
the database, and looks there regularly without being woken.
"""

from __future__ import annotations

import asyncio
import logging

import psycopg

from control_plane.topology import Topology
from control_plane.topology.storage.postgresql import CHANNEL

log = logging.getLogger(__name__)
RECONNECT_S = 1.0
"""Until a lost connection is made anew."""


class WakeUps:
    """Tells this process's subscribers of revisions that others have committed."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology

    async def run(self) -> None:
        """Listen until cancelled; SQLite has nobody to listen to."""
        engine = self._topology.engine
        if engine.dialect.name != "postgresql":
            return
        arguments, options = engine.dialect.create_connect_args(engine.url)
        given = {**options, "autocommit": True}
        while True:
            try:
                connection = await psycopg.AsyncConnection.connect(*arguments, **given)
                async with connection:
                    await connection.execute(f"LISTEN {CHANNEL}".encode())
                    async for notification in connection.notifies():
                        self.heard(notification.payload)
            except psycopg.OperationalError as error:
                log.warning("no wake-ups until the database is back: %s", str(error).strip())
            await asyncio.sleep(RECONNECT_S)

    def heard(self, payload: str) -> None:
        """A notification came."""
        self._topology.tell(int(payload) if payload.isascii() and payload.isdigit() else 0)
