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
MAX_REVISION = 2**63 - 1
"""The largest revision that the database can store."""
MAX_DIGITS = len(str(MAX_REVISION))
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
        self._topology.tell(revision_of(text))


def revision_of(text: str) -> int:
    """Return the revision that a notification names, 0 if it names none.

    Every role that may connect to the database may notify, with whatever text of up to 8,000 bytes.
    """
    # The length is looked at first: int() refuses texts of more than 4,300 digits.
    if len(text) > MAX_DIGITS or not (text.isascii() and text.isdigit()):
        return 0
    revision = int(text)
    return revision if revision <= MAX_REVISION else 0
