"""The process's cache of owners: never older than what the edge knows, and bounded."""

from __future__ import annotations

import random

from control_plane.classifier.cache.memory import (
    OWNED_S,
    SHARED_S,
    UNOWNED_S,
    OwnerCache,
)
from control_plane.classifier.cache.protocol import Entry
from control_plane.topology.lookup.seen import Epochs, Seen
from control_plane.topology.values import ClaimKey, KeyPair, NormalisedKeys

KEY = ClaimKey("tenant", "acme")
SHARD = KEY.shard


def asked(*keys: KeyPair) -> NormalisedKeys:
    return NormalisedKeys.of(keys)


def seen(revision: int, owner: int | None, epoch: int = 0) -> Seen:
    return Seen(revision, 1, [owner], [SHARD], epoch)


def filled(revision: int = 5, owner: int | None = 2) -> OwnerCache:
    cache = OwnerCache()
    cache.set_epochs(Epochs(revision, 1, {}))
    assert cache.note(seen(revision, owner))
    cache.put(asked(KEY), seen(revision, owner), 0.0)
    return cache


def owners(found: Seen | None) -> list[int | None] | None:
    return None if found is None else list(found.owners)


def test_an_edge_that_knows_more_is_not_answered() -> None:
    cache = filled(5)
    assert owners(cache.owners_of(asked(("tenant", "ACME")), 5, 1.0)) == [2]
    assert cache.owners_of(asked(KEY), 6, 1.0) is None
    assert cache.owners_of(asked(KEY, ("tenant", "other")), 5, 1.0) is None
    assert cache.owners_of(asked(("user_id", "no number")), 5, 1.0) is None


def test_an_epoch_makes_entries_of_its_shard_void_and_no_others() -> None:
    cache = filled(5)
    assert not cache.note(seen(8, 2, epoch=7))
    cache.set_epochs(Epochs(8, 1, {SHARD: 7}))
    assert cache.owners_of(asked(KEY), 8, 1.0) is None
    other = filled(5)
    other.set_epochs(Epochs(8, 1, {(SHARD + 1) % 256: 7}))
    found = other.owners_of(asked(KEY), 8, 1.0)
    assert owners(found) == [2]
    assert found is not None
    assert found.revision == 8


def test_a_late_answer_does_not_replace_a_newer_one() -> None:
    cache = filled(9, 3)
    cache.put(asked(KEY), seen(5, 2), 0.0)
    assert owners(cache.owners_of(asked(KEY), 9, 1.0)) == [3]
    cache.set_epochs(Epochs(5, 1, {SHARD: 10}))
    assert owners(cache.owners_of(asked(KEY), 9, 1.0)) == [3], "older news is ignored"


def test_entries_end_and_unknown_names_end_soon() -> None:
    cache = filled(5)
    assert owners(cache.owners_of(asked(KEY), 5, OWNED_S * 0.8)) == [2]
    assert cache.owners_of(asked(KEY), 5, OWNED_S * 1.01) is None
    cache = filled(5, None)
    assert owners(cache.owners_of(asked(KEY), 5, UNOWNED_S * 0.8)) == [None]
    assert cache.owners_of(asked(KEY), 5, UNOWNED_S * 1.01) is None


def test_a_flood_neither_grows_it_nor_evicts_what_is_used() -> None:
    cache = OwnerCache(100)
    cache.set_epochs(Epochs(5, 1, {}))
    choose = random.Random(1)
    cache.put(asked(KEY), seen(5, 2), 0.0)
    for _ in range(5000):
        name = ClaimKey("tenant", f"n{choose.randrange(10**9)}")
        cache.put(asked(name), Seen(5, 1, [None], [name.shard]), 0.0)
        assert owners(cache.owners_of(asked(KEY), 5, 0.1)) == [2]
    assert len(cache) == 100
    assert cache.evictions == 4901


def test_what_another_process_saw_is_used_under_the_same_rule_and_not_for_as_long() -> None:
    cache = OwnerCache()
    cache.set_epochs(Epochs(8, 1, {SHARD: 4}))
    assert cache.missing(asked(("tenant", "ACME")), 8) == [KEY]
    assert cache.missing(asked(KEY), 9) == [], "it would not help"
    cache.admit([(KEY, Entry(3, 2))], 0.0)
    assert cache.owners_of(asked(KEY), 8, 1.0) is None, "the shard has changed since"
    cache.admit([(KEY, Entry(9, 2))], 0.0)
    assert cache.owners_of(asked(KEY), 8, 1.0) is None, (
        "from the future: not of one moment with the rest"
    )
    cache.admit([(KEY, Entry(4, 2))], 0.0)
    assert owners(cache.owners_of(asked(KEY), 8, SHARED_S)) == [2]
    assert cache.missing(asked(KEY), 8) == []
    cache.put(asked(KEY), seen(8, 3), 0.0)
    cache.admit([(KEY, Entry(4, 2))], 0.0)
    assert owners(cache.owners_of(asked(KEY), 8, 1.0)) == [3], "older never replaces newer"
    assert cache.owners_of(asked(KEY), 8, OWNED_S * 1.01) is None


def test_another_database_makes_everything_void() -> None:
    cache = filled(5)
    assert not cache.note(seen(5, 2)._replace(database="other"))
    assert cache.owners_of(asked(KEY), 0, 1.0) is None
    cache.set_epochs(Epochs(9, 1, {}))
    assert cache.owners_of(asked(KEY), 0, 1.0) is None, "news of the first database"
    cache.set_epochs(Epochs(2, 1, {}, "other"))
    assert cache.missing(asked(KEY), 2) == [KEY]
