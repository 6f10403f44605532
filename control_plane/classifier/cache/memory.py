"""Owners of claims that were looked up before, kept in the process. Pure: the caller has the clock.

An entry is used only for a question that says what its edge knows (a revision): then all changes
of owners up to that revision must be known here too, and none of them may be in the entry's shard
after the entry.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from control_plane.routing.model import ClaimKey
from control_plane.topology.lookup.interface import Epochs, Seen, normalised

MAX_ENTRIES = 65_536
KEPT_S = 60.0
NEGATIVE_KEPT_S = 1.0
SHARED_KEPT_S = 10.0
"""Of what another process looked up: it has lived before."""
JITTER = 0.1
"""Times are shortened by up to this share, so that entries made together don't end together."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An owner, as of a revision."""

    revision: int
    owner: int


@dataclass(frozen=True, slots=True)
class _Entry:
    revision: int
    until: float
    owner: int | None


class OwnerCache:
    """Bounded; the entry that was not used for longest makes room."""

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._entries: OrderedDict[ClaimKey, _Entry] = OrderedDict()
        self._max_entries = max_entries
        self.evictions = 0
        self.database = ""
        """The database that all this is of, as `Seen` names it."""
        self._forget()

    def _forget(self) -> None:
        self._entries.clear()
        self._epochs: Mapping[int, int] = {}
        self._newest_epoch = -1
        self._revision = -1
        self._edge_revision = -1

    def __len__(self) -> int:
        return len(self._entries)

    def knows(self, seen: Seen) -> bool:
        """Take note of what a look-up saw; False if epochs are newer than those known here.

        What is known of another database is forgotten.
        """
        if seen.database != self.database:
            self.database = seen.database
            self._forget()
        if seen.epoch > self._newest_epoch:
            return False
        if seen.revision > self._revision:
            self._revision, self._edge_revision = seen.revision, seen.edge_revision
        return True

    def learn(self, news: Epochs) -> None:
        """All epochs, as of a revision; news that is older, or of another database, is ignored."""
        if news.revision >= self._revision and news.database == self.database:
            self._revision, self._edge_revision = news.revision, news.edge_revision
            self._epochs = news.epochs
            self._newest_epoch = max(news.epochs.values(), default=0)

    def lacks(self, keys: Sequence[ClaimKey], at_least: int) -> list[ClaimKey]:
        """The keys, normalised, that `get` would need and that are not here.

        None of them where it would not help to have them: for an edge that knows more than is
        known here.
        """
        params, _, places = normalised(keys)
        if at_least > self._revision or places is not None:
            return []
        asked = zip(params[::2], params[1::2], strict=True)
        return [key for key in asked if key not in self._entries]

    def admit(self, found: Sequence[tuple[ClaimKey, Entry]], now: float) -> None:
        """Take over what another process saw in this database.

        Not what is newer than what is known here: with it, owners would not be of one moment.
        What epochs make void, `get` finds.
        """
        for key, entry in found:
            if entry.revision <= self._revision:
                self._keep(key, _Entry(entry.revision, now + SHARED_KEPT_S, entry.owner))
        self._make_room()

    def get(self, keys: Sequence[ClaimKey], at_least: int, now: float) -> Seen | None:
        """The owners, if each is known, for an edge that knows everything up to ``at_least``."""
        if at_least > self._revision:
            return None
        params, shards, places = normalised(keys)
        if places is not None:
            return None
        owners: list[int | None] = []
        for place, shard in enumerate(shards):
            key = (params[2 * place], params[2 * place + 1])
            entry = self._entries.get(key)
            if entry is None:
                return None
            if entry.until < now or entry.revision < self._epochs.get(shard, 0):
                del self._entries[key]
                return None
            self._entries.move_to_end(key)
            owners.append(entry.owner)
        return Seen(self._revision, self._edge_revision, owners, shards)

    def put(self, keys: Sequence[ClaimKey], seen: Seen, now: float) -> None:
        """Keep what a look-up saw."""
        params, _, places = normalised(keys)
        if places is not None:
            return
        # It spreads load, and guards nothing.
        share = 1 - random.uniform(0, JITTER)  # noqa: S311
        for place, owner in enumerate(seen.owners):
            kept = NEGATIVE_KEPT_S if owner is None else KEPT_S
            key = (params[2 * place], params[2 * place + 1])
            self._keep(key, _Entry(seen.revision, now + kept * share, owner))
        self._make_room()

    def _keep(self, key: ClaimKey, entry: _Entry) -> None:
        old = self._entries.get(key)
        if old is None or old.revision <= entry.revision:
            self._entries[key] = entry
            self._entries.move_to_end(key)

    def _make_room(self) -> None:
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
            self.evictions += 1
