"""When the table of owners may answer an edge, and when the database has to be asked."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from control_plane.classifier.cache.memory import OWNED_S, UNOWNED_S, OwnerCache
from control_plane.classifier.cache.table import DOWN_S, OwnersTable
from control_plane.classifier.cache.tiered import CachedLookup
from control_plane.owners.frames import ASK, NOBODY
from control_plane.topology import Topology
from control_plane.topology.claims import all_epochs
from control_plane.topology.lookup.batched import BatchedLookup
from control_plane.topology.lookup.seen import Epochs, Seen
from control_plane.topology.values import (
    ClaimKey,
    KeyPair,
    NormalisedKeys,
    Unavailable,
)
from tests.classifier.cache.counts import Counts
from tests.owners.mapped.sharing import Sharing
from tests.owners.source.changes import NAMES, change, new_topology
from tests.topology.machine.owners_follower import all_owners

NOW = 1000.0
OWNERS = {"acme": 7, "odd": ASK}


class Fixed:
    """A table as of revision 20, whose cells are of revision 12."""

    revision = 20
    edge_revision = 12
    known_at = NOW
    there = True

    def refresh(self) -> bool:
        return self.there

    def owner_of(self, bucket: str, value: str) -> int:
        return OWNERS.get(value, NOBODY) if bucket == "route" else NOBODY


def ask(
    fixed: Fixed, *names: str, known: int = 20, now: float = NOW, down: float | None = None
) -> Sequence[int | None] | None:
    table = OwnersTable(fixed)
    if down is not None:
        table.database_failed(down)
    keys = [("user_id" if name == "no number" else "route", name) for name in names]
    seen = table.owners_of(NormalisedKeys.of(keys), known, now)
    if seen is None:
        return None
    assert (seen.revision, seen.edge_revision) == (20, 12)
    shards = [ClaimKey("route", name.lower()).shard for name in names if name != "no number"]
    assert list(seen.shards) == shards
    return seen.owners


def test_it_answers_whom_it_is_new_enough_for() -> None:
    assert ask(Fixed(), "ACME") == [7]
    assert ask(Fixed(), "acme", known=3) == [7]
    assert ask(Fixed(), "acme", known=21) is None
    assert ask(Fixed()) == []


def test_names_behind_the_first_that_is_owned_are_not_looked_up() -> None:
    assert ask(Fixed(), "nobody", "acme", "odd") == [None, 7, None]
    assert ask(Fixed(), "no number", "acme", "no number", "odd") == [None, 7, None, None]


def test_names_that_collide_are_asked_about() -> None:
    assert ask(Fixed(), "odd") is None
    assert ask(Fixed(), "nobody", "odd") is None


def test_nobody_owns_a_name_only_while_the_table_is_known_to_be_current() -> None:
    assert ask(Fixed(), "nobody", now=NOW + UNOWNED_S) == [None]
    late = NOW + UNOWNED_S + 0.01
    assert ask(Fixed(), "nobody", now=late) is None
    assert ask(Fixed(), "nobody", "acme", now=late) is None
    assert ask(Fixed(), "acme", "nobody", now=late) == [7, None]


def test_a_table_that_nobody_keeps_current_answers_only_if_the_database_does_not() -> None:
    late = NOW + OWNED_S + 0.01
    assert ask(Fixed(), "acme", now=late) is None
    assert ask(Fixed(), "acme", now=late, down=late - DOWN_S) == [7]
    assert ask(Fixed(), "nobody", now=late, down=late) is None
    assert ask(Fixed(), "acme", known=21, now=late, down=late) is None
    assert ask(Fixed(), "acme", now=late, down=late - DOWN_S - 0.01) is None


def test_cells_that_have_changed_since_the_table_are_none_of_its_moment() -> None:
    fixed = Fixed()
    fixed.edge_revision = 21
    assert ask(fixed, "acme") is None


def test_no_table_answers_nothing() -> None:
    fixed = Fixed()
    fixed.there = False
    assert ask(fixed, "acme") is None


class Database(BatchedLookup):
    """One that can be away, and counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.away = False

    async def owners_of(self, keys: Sequence[KeyPair]) -> Seen:
        self.asked += 1
        if self.away:
            raise Unavailable("away")
        return Seen(30, 12, [9] * len(keys), NormalisedKeys.of(keys).shards, 0, "d")

    async def epochs(self) -> Epochs:
        return Epochs(30, 12, {}, "d")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    times = [NOW]
    monkeypatch.setattr("time.monotonic", lambda: times[-1])
    return times


async def test_the_database_is_asked_what_the_table_does_not_tell(clock: list[float]) -> None:
    database, counts = Database(), Counts()
    lookup = CachedLookup(database, OwnerCache(), counts, None, OwnersTable(Fixed()))
    key = [("route", "acme")]
    assert (await lookup.owners_of(key, 20)).owners == [7]
    assert (await lookup.owners_of((), 20)).revision == 20
    assert database.asked == 0
    assert (await lookup.owners_of(key, None)).owners == [9], "the newest is asked for"
    assert (await lookup.owners_of(key, 21)).owners == [9]
    assert (await lookup.owners_of((), 21)).revision == 30
    assert database.asked == 3
    assert (await lookup.owners_of(key, 21)).owners == [9]
    assert database.asked == 3, "the process's own cache has it"
    assert counts.seen["owners", "hits"] == 2
    assert counts.seen["owners", "misses"] == 3
    clock.append(NOW + OWNED_S + 1)
    assert (await lookup.owners_of([("route", "acme"), ("route", "b")], 20)).owners == [9, 9]


async def test_without_the_database_an_old_table_answers_and_it_is_asked_seldom(
    clock: list[float],
) -> None:
    database = Database()
    database.away = True
    lookup = CachedLookup(database, OwnerCache(), Counts(), None, OwnersTable(Fixed()))
    clock.append(NOW + 24 * 3600)
    for _ in range(5):
        assert (await lookup.owners_of([("route", "acme")], 20)).owners == [7]
    assert database.asked == 1
    with pytest.raises(Unavailable):
        await lookup.owners_of([("route", "acme")], 21)
    with pytest.raises(Unavailable):
        await lookup.owners_of([("route", "nobody")], 20)


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    made = new_topology(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("seed", range(2))
async def test_an_edge_is_told_what_was_at_the_revision_that_it_is_told(
    topology: Topology, tmp_path: Path, seed: int
) -> None:
    """Claims, moves and releases at random, and a table that lags behind them at random.

    So no edge that knows of an epoch is ever told an owner from before it.
    """
    dice = random.Random(seed)
    sharing = Sharing(topology, tmp_path, max_log_bytes=1_000)
    await sharing.follow()
    table = OwnersTable(sharing.open())
    revision, owners = all_owners(topology)
    history = {revision: dict(owners)}
    answered = refused = 0
    for _ in range(60):
        change(topology, dice)
        revision, owners = all_owners(topology)
        history[revision] = dict(owners)
        if dice.random() < 0.4:
            await sharing.follow()
        with topology._store.read() as connection:
            epochs = all_epochs(connection)
        for known in {0, revision, *epochs.values()}:
            keys = NormalisedKeys.of([("route", name) for name in dice.sample(NAMES, 2)])
            lag_s = dice.choice((0.0, 2.0))
            seen = table.owners_of(keys, known, sharing.clock() + lag_s)
            if seen is None:
                refused += 1
                continue
            answered += 1
            assert known <= seen.revision <= revision
            was = [history[seen.revision].get(key) for key in keys.keys]
            assert seen.owners[0] == was[0]
            assert seen.owners == was or was[0] is not None
            assert lag_s == 0.0 or was[0] is not None or was[1] is not None
    assert answered > 50
    assert refused > 20
    await sharing.feed._stop_building()
