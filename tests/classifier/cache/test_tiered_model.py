"""A model of classifiers that share look-ups: any interleaving, never an answer that is too old.

Owners move and names are claimed and freed (with epochs as `control_plane.topology.claims.epochs` raises
them), databases are replaced by others; two processes look up, each statement, each write to the
shared cache and each read from it on its way for as long as it likes; edges ask with any revision
that they may know. The caches are the real ones, the database and Redis are dictionaries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from control_plane.classifier.cache.memory import UNOWNED_S, OwnerCache
from control_plane.classifier.cache.protocol import Entry
from control_plane.classifier.cache.redis import decode, encode, name_of
from control_plane.classifier.cache.tiered import shareable
from control_plane.topology.lookup.seen import Epochs, Seen
from control_plane.topology.values import ClaimKey, NormalisedKeys

NAMES = [ClaimKey("tenant", f"t{n}") for n in range(2)]
PROCESSES = 2


@dataclass
class Database:
    """Owners at every revision, with the epochs and the last owners of freed names."""

    name: str
    owners: list[dict[ClaimKey, int]] = field(default_factory=lambda: [{}])
    epochs: list[dict[int, int]] = field(default_factory=lambda: [{}])
    last: list[dict[ClaimKey, int]] = field(default_factory=lambda: [{}])

    @property
    def revision(self) -> int:
        return len(self.owners) - 1

    def commit(self, key: ClaimKey, owner: int | None) -> None:
        """Give a name an owner, or free it."""
        owners, epochs, last = dict(self.owners[-1]), dict(self.epochs[-1]), dict(self.last[-1])
        before = owners.pop(key, None)
        if before is not None:
            last[key] = before
        if owner is not None:
            owners[key] = owner
            if last.get(key, owner) != owner:
                epochs[key.shard] = self.revision + 1
        self.owners.append(owners)
        self.epochs.append(epochs)
        self.last.append(last)

    def as_of(self, revision: int, name: str) -> Database:
        """An older state, which goes on by itself."""
        end = revision + 1
        return Database(name, self.owners[:end], self.epochs[:end], self.last[:end])

    def seen(self, keys: list[ClaimKey]) -> Seen:
        epoch = max(self.epochs[-1].values(), default=0)
        owners = [self.owners[-1].get(key) for key in keys]
        shards = [key.shard for key in keys]
        return Seen(self.revision, 0, owners, shards, epoch, self.name)


class SharedLookups(RuleBasedStateMachine):
    """Steps of `CachedLookup`, each on its own."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0
        self.caches = [OwnerCache(max_entries=8) for _ in range(PROCESSES)]
        self.redis: dict[bytes, bytes] = {}
        self.flying: list[Callable[[], None]] = []
        """What is on its way to or from the database or Redis."""
        self.database = Database("db-0")

    @rule(key=st.sampled_from(NAMES), owner=st.sampled_from([1, 2, 3, None]))
    def change(self, key: ClaimKey, owner: int | None) -> None:
        self.database.commit(key, owner)

    @precondition(lambda self: self.database.revision > 0)
    @rule(data=st.data())
    def replace_database(self, data: st.DataObject) -> None:
        """By a backup, or a replica that was behind: another history from there on."""
        self.made += 1
        revision = data.draw(st.integers(0, self.database.revision - 1))
        self.database = self.database.as_of(revision, f"db-{self.made}")
        # What is asked of a database is broken off with it, and the edges start anew.
        self.flying.clear()
        self.caches = [OwnerCache(max_entries=8) for _ in range(PROCESSES)]

    @rule(
        at=st.integers(0, PROCESSES - 1),
        keys=st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True),
        soon=st.booleans(),
    )
    def look_up(self, at: int, keys: list[ClaimKey], soon: bool) -> None:
        """The statement sees this moment; its answer comes when it comes."""
        cache, database, seen = self.caches[at], self.database, self.database.seen(keys)
        normalised = NormalisedKeys.of(keys)

        def arrive() -> None:
            if not cache.note(seen):
                # Of any later moment: here, of the arrival.
                cache.set_epochs(Epochs(database.revision, 0, database.epochs[-1], database.name))
            cache.put(normalised, seen, 0.0)
            for key, entry in shareable(normalised, seen):
                self.send(partial(write, key, entry), soon)

        def write(key: ClaimKey, entry: Entry) -> None:
            name = name_of(seen.database, key)
            self.redis[name] = encode(name, entry)

        self.send(arrive, soon)

    @rule(at=st.integers(0, PROCESSES - 1), key=st.sampled_from(NAMES), soon=st.booleans())
    def read_redis(self, at: int, key: ClaimKey, soon: bool) -> None:
        """Redis is read at this moment; what it said comes when it comes."""
        cache = self.caches[at]
        name = name_of(cache.database, key)
        entry = decode(name, self.redis.get(name))
        database = cache.database

        def arrive() -> None:
            if entry is not None and database == cache.database:
                cache.admit([(key, entry)], 0.0)

        self.send(arrive, soon)

    def send(self, work: Callable[[], None], soon: bool) -> None:
        if soon:
            work()
        else:
            self.flying.append(work)

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.flying) - 1))
        self.flying.pop(place)()

    @invariant()
    def no_answer_is_too_old(self) -> None:
        """Whatever an edge may know by now."""
        database = self.database
        for cache in self.caches:
            for known in range(database.revision + 1):
                for key in NAMES:
                    found = cache.owners_of(NormalisedKeys.of([key]), known, UNOWNED_S / 2)
                    if found is not None:
                        self.check(key, known, found)

    def check(self, key: ClaimKey, known: int, found: Seen) -> None:
        """The owner is that of a moment since the last change of owner that the answer knows of.

        New and freed names are no such change: those entries end by time alone.
        """
        database = self.database
        assert known <= found.revision <= database.revision
        changed = database.epochs[found.revision].get(key.shard, 0)
        since = database.owners[changed : found.revision + 1]
        assert found.owners[0] in {owners.get(key) for owners in since}


SharedLookups.TestCase.settings = settings(max_examples=300, stateful_step_count=30, deadline=None)
TestSharedLookups = SharedLookups.TestCase
