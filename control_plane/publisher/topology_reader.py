"""Reads the topology when it has changed, and no more of it than has.

Under load most commits are claims, which change neither cells nor the ruleset. One statement tells
what was committed (`Mark`). Where that shows only a newer revision, the last state is good at that
revision, too, and is not read again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from control_plane.topology import Topology
from control_plane.topology.lookup.interface import ClaimLookup, Mark
from control_plane.topology.values.change import Snapshot
from control_plane.topology.values.errors import TopologyError
from control_plane.xds.server.revision_probe import RevisionUnknown


class TopologyReader:
    """Reads states of the topology. It blocks; use it in one thread at a time."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._lookup: ClaimLookup | None = None
        self._mark: Mark | None = None
        self._last: tuple[int, Snapshot] | None = None
        """The last state, and the number of the connection that showed it to be new."""

    def read(self, *, behind: bool) -> Snapshot | None:
        """Return the newest state, if anything was committed since the last call, or if ``behind``.

        Raises:
            TopologyError: the database can't be read.
        """
        if self._lookup is None:
            self._lookup = self._topology.claim_lookup()
        # Before the state is read: the next call must not miss a commit after it.
        mark = self._lookup.mark()
        if mark == self._mark and not behind:
            return None
        self._mark = mark
        state = self._at_newer_revision(mark) or self._topology.snapshot()
        self._last = mark.connection, state
        return state

    def _at_newer_revision(self, mark: Mark) -> Snapshot | None:
        """Return the last state at a newer revision, where that is all that has changed."""
        if self._last is None:
            return None
        connection, last = self._last
        expected = Mark(mark.revision, last.edge_revision, sum(last.epochs.values()), connection)
        if mark != expected or mark.revision < last.revision:
            return None
        return replace(last, revision=mark.revision)

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
