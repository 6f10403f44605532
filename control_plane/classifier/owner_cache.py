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
from control_plane.topology.lookup import Seen, normalised

MAX_ENTRIES = 65_536
KEPT_S = 60.0
NEGATIVE_KEPT_S = 1.0
JITTER = 0.1
"""Times are shortened by up to this share, so that entries made together don't end together."""


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
        self._epochs: Mapping[int, int] = {}
        self._newest_epoch = -1
        self._revision = -1
        self._edge_revision = -1
        self.evictions = 0

    def __len__(self) -> int:
        return len(self._entries)

    def knows(self, seen: Seen) -> bool:
        """Take note of what a look-up saw; False if epochs are newer than those known here."""
        if seen.epoch > self._newest_epoch:
            return False
        if seen.revision > self._revision:
            self._revision, self._edge_revision = seen.revision, seen.edge_revision
        return True

    def learn(self, revision: int, edge_revision: int, epochs: Mapping[int, int]) -> None:
        """All epochs, as of a revision; older news is ignored."""
        if revision >= self._revision:
            self._revision, self._edge_revision = revision, edge_revision
            self._epochs = epochs
            self._newest_epoch = max(epochs.values(), default=0)

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
            old = self._entries.get(key)
            if old is not None and old.revision > seen.revision:
                continue
            self._entries[key] = _Entry(seen.revision, now + kept * share, owner)
            self._entries.move_to_end(key)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
            self.evictions += 1
