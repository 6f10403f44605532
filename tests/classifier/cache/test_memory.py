"""The process's cache of owners: never older than what the edge knows, and bounded."""

from __future__ import annotations

import random

from control_plane.classifier.cache.memory import (
    KEPT_S,
    NEGATIVE_KEPT_S,
    SHARED_KEPT_S,
    Entry,
    OwnerCache,
)
from control_plane.topology.claims.epochs import shard
from control_plane.topology.lookup.interface import Epochs, Seen

KEY = ("tenant", "acme")
SHARD = shard(*KEY)


def seen(revision: int, owner: int | None, epoch: int = 0) -> Seen:
    return Seen(revision, 1, [owner], [SHARD], epoch)


def filled(revision: int = 5, owner: int | None = 2) -> OwnerCache:
    cache = OwnerCache()
    cache.learn(Epochs(revision, 1, {}))
    assert cache.knows(seen(revision, owner))
    cache.put([KEY], seen(revision, owner), 0.0)
    return cache


def owners(found: Seen | None) -> list[int | None] | None:
    return None if found is None else list(found.owners)


def test_an_edge_that_knows_more_is_not_answered() -> None:
    cache = filled(5)
    assert owners(cache.get([("tenant", "ACME")], 5, 1.0)) == [2]
    assert cache.get([KEY], 6, 1.0) is None
    assert cache.get([KEY, ("tenant", "other")], 5, 1.0) is None
    assert cache.get([("user_id", "no number")], 5, 1.0) is None


def test_an_epoch_makes_entries_of_its_shard_void_and_no_others() -> None:
    cache = filled(5)
    assert not cache.knows(seen(8, 2, epoch=7))
    cache.learn(Epochs(8, 1, {SHARD: 7}))
    assert cache.get([KEY], 8, 1.0) is None
    other = filled(5)
    other.learn(Epochs(8, 1, {(SHARD + 1) % 256: 7}))
    found = other.get([KEY], 8, 1.0)
    assert owners(found) == [2]
    assert found is not None
    assert found.revision == 8


def test_a_late_answer_does_not_replace_a_newer_one() -> None:
    cache = filled(9, 3)
    cache.put([KEY], seen(5, 2), 0.0)
    assert owners(cache.get([KEY], 9, 1.0)) == [3]
    cache.learn(Epochs(5, 1, {SHARD: 10}))
    assert owners(cache.get([KEY], 9, 1.0)) == [3], "older news is ignored"


def test_entries_end_and_unknown_names_end_soon() -> None:
    cache = filled(5)
    assert owners(cache.get([KEY], 5, KEPT_S * 0.8)) == [2]
    assert cache.get([KEY], 5, KEPT_S * 1.01) is None
    cache = filled(5, None)
    assert owners(cache.get([KEY], 5, NEGATIVE_KEPT_S * 0.8)) == [None]
    assert cache.get([KEY], 5, NEGATIVE_KEPT_S * 1.01) is None


def test_a_flood_neither_grows_it_nor_evicts_what_is_used() -> None:
    cache = OwnerCache(100)
    cache.learn(Epochs(5, 1, {}))
    choose = random.Random(1)
    cache.put([KEY], seen(5, 2), 0.0)
    for _ in range(5000):
        name = ("tenant", f"n{choose.randrange(10**9)}")
        cache.put([name], Seen(5, 1, [None], [shard(*name)]), 0.0)
        assert owners(cache.get([KEY], 5, 0.1)) == [2]
    assert len(cache) == 100
    assert cache.evictions == 4901


def test_what_another_process_saw_is_used_under_the_same_rule_and_not_for_as_long() -> None:
    cache = OwnerCache()
    cache.learn(Epochs(8, 1, {SHARD: 4}))
    assert cache.lacks([("tenant", "ACME")], 8) == [KEY]
    assert cache.lacks([KEY], 9) == [], "it would not help"
    cache.admit([(KEY, Entry(3, 2))], 0.0)
    assert cache.get([KEY], 8, 1.0) is None, "the shard has changed since"
    cache.admit([(KEY, Entry(9, 2))], 0.0)
    assert cache.get([KEY], 8, 1.0) is None, "from the future: not of one moment with the rest"
    cache.admit([(KEY, Entry(4, 2))], 0.0)
    assert owners(cache.get([KEY], 8, SHARED_KEPT_S)) == [2]
    assert cache.lacks([KEY], 8) == []
    cache.put([KEY], seen(8, 3), 0.0)
    cache.admit([(KEY, Entry(4, 2))], 0.0)
    assert owners(cache.get([KEY], 8, 1.0)) == [3], "older never replaces newer"
    assert cache.get([KEY], 8, KEPT_S * 1.01) is None


def test_another_database_makes_everything_void() -> None:
    cache = filled(5)
    assert not cache.knows(seen(5, 2)._replace(database="other"))
    assert cache.get([KEY], 0, 1.0) is None
    cache.learn(Epochs(9, 1, {}))
    assert cache.get([KEY], 0, 1.0) is None, "news of the first database"
    cache.learn(Epochs(2, 1, {}, "other"))
    assert cache.lacks([KEY], 2) == [KEY]
