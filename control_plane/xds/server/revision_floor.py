"""How new the snapshot must be before a node that has just come may be sent anything.

What another replica sent the node was committed before the node came. So the snapshot is new enough
once it has reached the revision that was the newest one when the node came (docs/adr/0040).
"""

from __future__ import annotations

import asyncio
import logging

from control_plane.xds.server.revision_probe import RevisionProbe, RevisionUnknown

PROBE_AGAIN_S = 1.0
"""The pause after the source of truth has not answered."""
log = logging.getLogger(__name__)


class RevisionFloor:
    """The revision that the snapshot must reach for one node."""

    def __init__(self, probe: RevisionProbe) -> None:
        self._probe = probe
        self._reached = asyncio.Event()
        self.revision: int | None = None
        """None until the source of truth has answered, and again once the floor is reached."""

    async def learn(self, node_id: str) -> None:
        """Ask for the newest revision until the source of truth answers."""
        while self.revision is None:
            try:
                self.revision = await self._probe.newest_revision()
            except RevisionUnknown as error:
                log.warning(
                    "%s waits, because the newest revision can't be read: %s", node_id, error
                )
                await asyncio.sleep(PROBE_AGAIN_S)

    def reached_by(self, revision: int) -> bool:
        """Return whether a snapshot of this revision reaches the floor; True once only."""
        if self.revision is None or revision < self.revision:
            return False
        self.revision = None
        self._reached.set()
        return True

    async def reached(self) -> None:
        """Wait until `reached_by` has returned True."""
        await self._reached.wait()
