"""A feed of a topology that is stepped by hand, and the files that it keeps current."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from control_plane.owners.mapped.reader import SharedTable, open_shared
from control_plane.owners.mapped.writer import SharedOwners
from control_plane.owners.source.builder import BaseBuilder
from control_plane.owners.source.feed import OwnersFeed
from control_plane.topology import Topology


class Sharing:
    """The feed, and a clock that tests set."""

    def __init__(self, topology: Topology, directory: Path, **more: Any) -> None:
        self.topology = topology
        self.times = [100.0]
        clock = self.clock
        self.feed = OwnersFeed(topology, BaseBuilder(topology, directory), clock=clock, **more)
        self.files = directory / "files"
        self.files.mkdir()
        self.shared = SharedOwners(self.files, self.feed.journal, clock)
        self.feed.share(self.shared)

    def clock(self) -> float:
        return self.times[-1]

    async def follow(self) -> None:
        """Bring the files up to date: a base that was copied counts from the next step on."""
        while await self.feed.step():
            pass
        if self.feed._next is not None:
            await asyncio.wait({self.feed._next})
            await self.feed.step()
        await self.shared.close()
        while await self.feed.step():
            pass

    def open(self) -> SharedTable:
        found = open_shared(self.files)
        assert found is not None
        return found
