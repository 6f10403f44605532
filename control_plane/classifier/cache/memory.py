"""A cache of the owners of claims in the process. Pure: the caller has the clock.

The problem: an owner that was read a while ago may have changed since, and to ask the database
whether it has costs as much as to read the owner again. The idea: an edge says with each question
up to which revision it knows all changes of owners (``at_least``), and the cache answers only from
what is no older than that. To judge this, the cache keeps two things: the revision up to which it
has heard of everything, and the epoch of each shard, which is the revision of the last change of an
owner in that shard.

For example, the cache has heard of everything up to revision 90, and shard 7 has the epoch 80:

* An edge that knows revision 95 is not answered: there may be a change that the cache has not
  heard of.
* An entry of shard 7 from revision 75 is void: some owner in the shard changed at 80.
* An entry of shard 7 from revision 85 holds as of revision 90: an edge that knows 88 is answered.

New names raise no epoch. So an entry that says that nobody owns a name lives for a second only.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from control_plane.classifier.cache.protocol import Entry
from control_plane.topology.lookup.seen import Epochs, Seen
from control_plane.topology.values import ClaimKey, NormalisedKeys

MAX_ENTRIES = 65_536
"""How many entries the cache holds at most: some 20 MB."""
OWNED_S = 60.0
"""How long an owner is kept."""
UNOWNED_S = 1.0
"""How long the cache keeps that nobody owns a name."""
SHARED_S = 10.0
"""How long an owner from the shared cache is kept. The shared cache has kept it before."""
JITTER = 0.1
"""Times are shortened by up to this share, so that entries of one moment don't all end at once."""


class _Entry(NamedTuple):
    """An owner (None: nobody owns the name) as of a revision, and when the entry ends."""

    revision: int
    until: float
    owner: int | None


class OwnerCache:
    """A bounded cache. If it is full, the entry that was not used for longest makes room."""

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._entries: OrderedDict[ClaimKey, _Entry] = OrderedDict()
        self._max_entries = max_entries
        self.evictions = 0
        """How many entries have made room for others."""
        self.database = ""
        """The database that the entries are of, as `Seen.database` names it."""
        self._clear()

    def _clear(self) -> None:
        self._entries.clear()
        self._epochs: Mapping[int, int] = {}
        self._newest_epoch = -1
        self._revision = -1
        self._edge_revision = -1

    def __len__(self) -> int:
        return len(self._entries)

    def note(self, seen: Seen) -> bool:
        """Take note of the revision of a look-up; return False if it saw an unknown epoch.

        The caller then has to read all epochs and call `set_epochs`. A look-up in another database
        empties the cache.
        """
        if seen.database != self.database:
            self.database = seen.database
            self._clear()
        if seen.epoch > self._newest_epoch:
            return False
        if seen.revision > self._revision:
            self._revision, self._edge_revision = seen.revision, seen.edge_revision
        return True

    def set_epochs(self, read: Epochs) -> None:
        """Replace all epochs, unless those that were read are older or of another database."""
        if read.revision >= self._revision and read.database == self.database:
            self._revision, self._edge_revision = read.revision, read.edge_revision
            self._epochs = read.epochs
            self._newest_epoch = max(read.epochs.values(), default=0)

    def missing(self, keys: NormalisedKeys, at_least: int) -> list[ClaimKey]:
        """Return the keys without which `owners_of` can't answer.

        There are none if it could not answer with them either: the edge knows of changes that the
        cache has not heard of, or a key can't be claimed.
        """
        if at_least > self._revision or keys.left_out:
            return []
        return [key for key in keys.keys if key not in self._entries]

    def admit(self, entries: Sequence[tuple[ClaimKey, Entry]], now: float) -> None:
        """Take over entries that another process has read from the same database.

        An entry that is newer than what the cache has heard of is left out, since together with
        others it would not be of one moment. `owners_of` finds out which of them epochs make void.
        """
        for key, entry in entries:
            if entry.revision <= self._revision:
                self._put(key, _Entry(entry.revision, now + SHARED_S, entry.owner))
        self._make_room()

    def owners_of(self, keys: NormalisedKeys, at_least: int, now: float) -> Seen | None:
        """Return the owners, for an edge that knows all changes up to ``at_least``.

        Returns:
            None if one of them is not here, or the cache has not heard of all those changes.
        """
        if at_least > self._revision or keys.left_out:
            return None
        owners: list[int | None] = []
        for key, shard in zip(keys.keys, keys.shards, strict=True):
            entry = self._entries.get(key)
            if entry is None:
                return None
            if entry.until < now or entry.revision < self._epochs.get(shard, 0):
                del self._entries[key]
                return None
            self._entries.move_to_end(key)
            owners.append(entry.owner)
        return Seen(self._revision, self._edge_revision, owners, keys.shards)

    def put(self, keys: NormalisedKeys, seen: Seen, now: float) -> None:
        """Keep what a look-up of these keys saw."""
        if keys.left_out:
            return
        share = 1 - random.uniform(0, JITTER)  # noqa: S311 - spreads load, guards nothing
        for key, owner in zip(keys.keys, seen.owners, strict=True):
            life_s = UNOWNED_S if owner is None else OWNED_S
            self._put(key, _Entry(seen.revision, now + life_s * share, owner))
        self._make_room()

    def _put(self, key: ClaimKey, entry: _Entry) -> None:
        """Keep an entry, unless there is a newer one of the key."""
        old = self._entries.get(key)
        if old is None or old.revision <= entry.revision:
            self._entries[key] = entry
            self._entries.move_to_end(key)

    def _make_room(self) -> None:
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
            self.evictions += 1
