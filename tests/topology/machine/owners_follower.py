"""A reader that knows the owners of claims from one read of all of them, and the changes since."""

from __future__ import annotations

from dataclasses import dataclass, field

from control_plane.topology import Topology
from control_plane.topology.values import KeyPair


@dataclass
class OwnersFollower:
    """What the reader knows; ``history`` has what it knew at each revision that it has seen."""

    at: int = 0
    owners: dict[KeyPair, int] = field(default_factory=dict)
    history: dict[int, dict[KeyPair, int]] = field(default_factory=dict)

    def read(self, topology: Topology) -> None:
        """Forget everything, and read all there is."""
        self.at, self.owners = all_owners(topology)
        self.history = {self.at: dict(self.owners)}

    def follow(self, topology: Topology) -> None:
        """Read the changes to their end."""
        while True:
            found = topology.owners.since(self.at)
            for revision, bucket, value, cell_id, is_new in found.changes:
                key = (bucket, value)
                assert self.at < revision <= found.upto
                assert is_new == (key not in self.owners), (key, revision)
                if cell_id:
                    self.owners[key] = cell_id
                else:
                    del self.owners[key]
            self.at = found.upto
            self.history[self.at] = dict(self.owners)
            if found.upto == found.newest:
                return

    def check(self, topology: Topology) -> None:
        """Follow; what comes out is what a look-up reads."""
        self.follow(topology)
        assert (self.at, self.owners) == all_owners(topology)


def all_owners(topology: Topology) -> tuple[int, dict[KeyPair, int]]:
    """Return the newest revision, and all owners at it."""
    with topology.owners.read() as read:
        rows = [row for rows in read.rows for row in rows]
        return read.revision, {(bucket, value): cell_id for bucket, value, cell_id in rows}
