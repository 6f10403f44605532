"""The process's cache of owners: never older than what the edge knows, and bounded."""

from __future__ import annotations

import random

from control_plane.classifier.owner_cache import KEPT_S, NEGATIVE_KEPT_S, OwnerCache
from control_plane.topology.epochs import shard
from control_plane.topology.lookup import Seen

KEY = ("tenant", "acme")
SHARD = shard(*KEY)


def seen(revision: int, owner: int | None, epoch: int = 0) -> Seen:
    return Seen(revision, 1, [owner], [SHARD], epoch)


def filled(revision: int = 5, owner: int | None = 2) -> OwnerCache:
    cache = OwnerCache()
    cache.learn(revision, 1, {})
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
    cache.learn(8, 1, {SHARD: 7})
    assert cache.get([KEY], 8, 1.0) is None
    other = filled(5)
    other.learn(8, 1, {(SHARD + 1) % 256: 7})
    found = other.get([KEY], 8, 1.0)
    assert owners(found) == [2]
    assert found is not None
    assert found.revision == 8


def test_a_late_answer_does_not_replace_a_newer_one() -> None:
    cache = filled(9, 3)
    cache.put([KEY], seen(5, 2), 0.0)
    assert owners(cache.get([KEY], 9, 1.0)) == [3]
    cache.learn(5, 1, {SHARD: 10})
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
    cache.learn(5, 1, {})
    choose = random.Random(1)
    cache.put([KEY], seen(5, 2), 0.0)
    for _ in range(5000):
        name = ("tenant", f"n{choose.randrange(10**9)}")
        cache.put([name], Seen(5, 1, [None], [shard(*name)]), 0.0)
        assert owners(cache.get([KEY], 5, 0.1)) == [2]
    assert len(cache) == 100
    assert cache.evictions == 4901
