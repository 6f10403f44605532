"""Reads the topology when it has changed, and no more of it than has.

Under load most commits are claims, which change neither cells nor the ruleset. One statement reads
what is committed (`FeedPosition`). Where that shows nothing but a newer revision, the last state is
good at that revision, too, and is not read again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from control_plane.topology import Topology
from control_plane.topology.lookup import ClaimLookup, FeedPosition
from control_plane.topology.values.change import TopologySnapshot
from control_plane.topology.values.errors import TopologyError
from control_plane.xds.server.revision_probe import RevisionUnknown


class TopologyReader:
    """Reads states of the topology. It blocks; use it in one thread at a time."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._lookup: ClaimLookup | None = None
        self._position: FeedPosition | None = None
        self._last: tuple[int, TopologySnapshot] | None = None
        """The last state, and the number of the connection that showed it to be new."""

    def read(self, *, behind: bool) -> TopologySnapshot | None:
        """Return the newest state, if anything was committed since the last call, or if ``behind``.

        Raises:
            TopologyError: the database can't be read.
        """
        if self._lookup is None:
            self._lookup = self._topology.claim_lookup()
        # The position is read before the state, so that the next call misses no commit in between.
        position = self._lookup.feed_position()
        if position == self._position and not behind:
            return None
        self._position = position
        state = self._at_newer_revision(position) or self._topology.snapshot()
        self._last = position.connection, state
        return state

    def _at_newer_revision(self, position: FeedPosition) -> TopologySnapshot | None:
        """Return the last state at a newer revision, where that is all that has changed."""
        if self._last is None:
            return None
        connection, last = self._last
        expected = FeedPosition(
            position.revision, last.edge_revision, sum(last.epochs.values()), connection
        )
        if position != expected or position.revision < last.revision:
            return None
        return replace(last, revision=position.revision)

    def close(self) -> None:
        """Close the connection."""
        if self._lookup is not None:
            self._lookup.close()


def newest_revision(topology: Topology) -> Callable[[], int]:
    """Return a function that reads the newest committed revision, or raises `RevisionUnknown`."""

    def read() -> int:
        try:
            return topology.revision()
        except TopologyError as error:
            raise RevisionUnknown(str(error)) from error

    return read
