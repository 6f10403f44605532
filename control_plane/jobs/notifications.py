"""Hears of other processes' commits at once, where the database's server notifies of them.

Notifications are hints only. One that is lost, late, doubled or out of order does no harm: whoever
is woken by it reads the database, and reads it regularly without being woken.
"""

from __future__ import annotations

import asyncio
import logging

from control_plane.topology import Topology
from control_plane.topology.values.errors import TopologyError

log = logging.getLogger(__name__)
RECONNECT_S = 1.0
"""How long to wait before a lost connection is made anew."""


class CommitNotifications:
    """Tells the subscribers of this process's topology which revisions others have committed."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology

    async def run(self) -> None:
        """Listen until cancelled. An embedded database has nobody who notifies."""
        while not self._topology.embedded:
            try:
                async for text in self._topology.notifications():
                    self.heard(text)
            except TopologyError as error:
                log.warning(
                    "other processes' commits are seen late until the database is back: %s", error
                )
            await asyncio.sleep(RECONNECT_S)

    def heard(self, text: str) -> None:
        """Pass a notification on; one without a revision says only that something was committed."""
        self._topology.tell(int(text) if text.isascii() and text.isdigit() else 0)
