"""Answers from the table of owners that a server shares with its classifiers.

A name that no process has looked up before costs a question to the database, and without the
database it has no answer. The table has all names. It is complete up to a revision R, so it may
answer an edge that knows of nothing newer than R, with R as the answer's revision. Two things are
not certain from it alone:

* that nobody owns a name: another may have claimed it since. So that counts for a second only from
  the moment when nothing newer than R was committed, as it does in the process's own cache.
* that a name still is its owner's, since to release a name moves no epoch. So a table that nobody
  keeps current any more answers for a minute, as that cache does; then the database is asked first.
  The table answers if that fails.
"""

from __future__ import annotations

from typing import Protocol

from control_plane.classifier.cache.memory import OWNED_S, UNOWNED_S
from control_plane.owners.frames import ASK, NOBODY
from control_plane.topology.lookup.seen import Seen
from control_plane.topology.values import NormalisedKeys

DOWN_S = 5.0
"""How long after a failure of the database the table is asked first, however old it is."""
_new = tuple.__new__
"""Makes a named tuple at a third of the cost of calling its class."""


class Owners(Protocol):
    """A table of owners (`owners.mapped.reader`)."""

    revision: int
    """The table is complete up to and with this one, and has nothing newer."""
    edge_revision: int
    """The last change to a cell or the active ruleset, of a moment not before `revision`."""
    known_at: float
    """When no newer revision was committed, in seconds of `time.monotonic`."""

    def refresh(self) -> bool:
        """Take over what is new; return whether there is a table."""

    def owner_of(self, bucket: str, value: str) -> int:
        """Return the owner of a normalised name: a cell's id, or that nobody is it or is known."""


class OwnersTable:
    """Look-ups in a table of owners. For one event loop."""

    def __init__(self, owners: Owners) -> None:
        self._owners = owners
        self._down_until = float("-inf")

    def database_failed(self, now: float) -> None:
        """Note that the database has not answered."""
        self._down_until = now + DOWN_S

    def owners_of(self, keys: NormalisedKeys, at_least: int, now: float) -> Seen | None:
        """Return the owners, for an edge that knows all changes up to ``at_least``.

        Claims behind the first that is owned are not looked up, because no rule looks at them: None
        stands for their owners.

        Returns:
            None if the table is older than that, or not certain of a name.
        """
        table = self._owners
        # If cells have changed after the table's revision, it is not known what they were then.
        if not table.refresh() or table.revision < at_least or table.revision < table.edge_revision:
            return None
        lag_s = now - table.known_at
        if lag_s > OWNED_S and now > self._down_until:
            return None
        owners: list[int | None] = []
        for bucket, value in keys.keys:
            owner = table.owner_of(bucket, value)
            if owner == ASK or (owner == NOBODY and lag_s > UNOWNED_S):
                return None
            if owner != NOBODY:
                owners.append(owner)
                break
            owners.append(None)
        owners += [None] * (len(keys.keys) - len(owners))
        seen = (table.revision, table.edge_revision, keys.spread(owners), keys.shards, 0, "")
        return _new(Seen, seen)
