"""The journal of the control plane says what the database says, at each revision."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.owners.follow import FollowSession
from control_plane.owners.frames import ClientMessage
from control_plane.owners.source.builder import BaseBuilder
from control_plane.owners.source.feed import OwnersFeed
from control_plane.topology import Subject, Topology
from control_plane.topology.maintenance.backup import advance
from control_plane.topology.values.claim import ClaimSpec, RecordSpec
from control_plane.topology.values.errors import TopologyError, Unavailable
from tests.owners.tables import Reader
from tests.owners.weak import check_table, weaken
from tests.topology.conftest import cell_spec
from tests.topology.machine.owners_follower import all_owners
from tests.topology.machine.writes import template

ME = "tester"
NAMES = [f"n{number}" for number in range(14)]


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    (tmp_path / "t.db").write_bytes(template())
    made = Topology.open(f"sqlite:///{tmp_path}/t.db")
    for number in (1, 2):
        made.cells.create(cell_spec(number), actor=ME)
    yield made
    made.close()


def feed_of(topology: Topology, directory: Path, **more: Any) -> OwnersFeed:
    return OwnersFeed(topology, BaseBuilder(topology, directory), clock=lambda: 0.0, **more)


async def follow(feed: OwnersFeed) -> None:
    """Bring the journal up to date."""
    while await feed.step():
        pass


class Following:
    """A reader with a stream of its own, which may be cut."""

    def __init__(self, feed: OwnersFeed) -> None:
        self.reader = Reader(key_id=0)
        self.feed = feed
        self.connect()

    def connect(self) -> None:
        self.session = FollowSession(self.feed.journal, self.reader.follow())

    def take(self, now: float = 0.0) -> None:
        """Take all that there is."""
        while frames := self.session.next(now):
            self.reader.take_all(frames)


def change(topology: Topology, dice: random.Random) -> None:
    """Make a change at random; many are refused, which changes nothing."""
    cell = dice.choice((1, 2))
    name, other = dice.sample(NAMES, 2)
    records = [RecordSpec("route", one, 3, 5) for one in (name, other)]
    leases = topology.open_leases.page()
    kind = dice.randrange(8)
    with contextlib.suppress(TopologyError):
        if kind < 3:
            specs = [ClaimSpec("route", one, f"cell-{cell}", f"s{cell}") for one in (name, other)]
            topology.claims.claim(specs[: dice.choice((1, 2))], actor=ME)
        elif kind == 3:
            topology.claims.release([("route", name)], actor=ME)
        elif kind == 4:
            cells = ("cell-1", "cell-2")
            source, target = dice.sample(cells, 2)
            topology.moves.move(Subject(text=f"s{cell}"), source, target, reason="t", actor=ME)
        elif kind == 5:
            topology.leases.begin(cell, records[:1], dice.choice(([], records)), actor=ME)
        elif kind == 6 and leases:
            one = dice.choice(leases)
            settle = dice.choice((topology.leases.commit, topology.leases.roll_back))
            settle(one.cell_id, one.uuid, actor=ME)
        else:
            topology.edge_secrets.rotate(actor=ME, force=True)


@pytest.mark.parametrize("seed", range(3))
async def test_readers_have_what_the_database_has_whatever_happens(
    topology: Topology, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    weaken(monkeypatch)
    dice = random.Random(seed)
    feed = feed_of(topology, tmp_path, max_log_bytes=2_000)
    await follow(feed)
    readers = [Following(feed) for _ in range(4)]
    asked = tables = bases = 0
    for _ in range(90):
        for _ in range(dice.choice((1, 1, 4))):
            change(topology, dice)
        if dice.random() < 0.05:
            topology.changes.prune(keep=dice.choice((0, 3)))
        if dice.random() < 0.04:
            advance(topology._store, 0)
        await follow(feed)
        for one in dice.sample(readers, 2):
            if dice.random() < 0.3:
                one.connect()
            one.take()
            revision, owners = all_owners(topology)
            assert one.reader.revision == revision == feed.journal.revision
            asked = max(asked, check_table(one.reader.owners, owners))
        tables = max(tables, feed.journal.lineages)
        bases = max(bases, feed.journal.bases)
    await feed._stop_building()
    assert asked > 2, "names collide"
    assert tables > 1, "the history was lost"
    assert bases > tables, "a new base was built while the journal went on"


async def test_a_reader_goes_on_from_each_revision(topology: Topology, tmp_path: Path) -> None:
    dice = random.Random(1)
    feed = feed_of(topology, tmp_path)
    await follow(feed)
    first = Following(feed)
    first.take()
    history = {first.reader.revision: dict(first.reader.owners)}
    for _ in range(60):
        change(topology, dice)
        if dice.random() < 0.5:
            await follow(feed)
            first.take()
            history[first.reader.revision] = dict(first.reader.owners)
    await follow(feed)
    first.take()
    for revision, owners in history.items():
        late = Following(feed)
        late.reader.table, late.reader.revision = first.reader.table, revision
        late.reader.owners = owners
        late.connect()
        late.take()
        assert late.reader.begun == 0
        assert late.reader.owners == first.reader.owners
        assert late.reader.revision == first.reader.revision
    other = feed_of(topology, tmp_path)
    await follow(other)
    here = Following(other)
    here.take()
    assert here.reader.owners == first.reader.owners
    assert here.reader.table == first.reader.table
    # A replica that began late tells what changed before, too, as far as the feed has it.
    for revision, owners in history.items():
        late.feed, late.reader.revision = other, revision
        late.reader.owners = dict(owners)
        late.connect()
        late.take()
        assert (late.reader.begun, late.reader.owners) == (0, first.reader.owners)


async def test_a_replica_that_has_just_started_tells_as_much_of_the_past_as_it_may(
    topology: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.owners.source.feed.PAST_CHANGES", 10)
    feed = feed_of(topology, tmp_path)
    await follow(feed)
    early = Following(feed)
    early.take()
    topology.claims.claim([ClaimSpec("route", f"a{n}", "cell-1") for n in range(6)], actor=ME)
    await follow(feed)
    late = Following(feed)
    late.take()
    for name in ("b", "c"):
        specs = [ClaimSpec("route", f"{name}{n}", "cell-1") for n in range(4)]
        topology.claims.claim(specs, actor=ME)
    topology.claims.release([("route", "a0")], actor=ME)
    restarted = feed_of(topology, tmp_path)
    await follow(restarted)
    for one, begun in ((early, 2), (late, 1)):
        one.feed = restarted
        one.connect()
        one.take()
        assert one.reader.begun == begun
        assert len(one.reader.owners) == 13
        assert one.reader.revision == topology.revision()


async def test_a_reader_who_is_ahead_waits_for_a_replica_that_lags(
    topology: Topology, tmp_path: Path
) -> None:
    old, new = feed_of(topology, tmp_path), feed_of(topology, tmp_path)
    await follow(old)
    topology.claims.claim([ClaimSpec("route", "a", "cell-1")], actor=ME)
    await follow(new)
    one = Following(new)
    one.take()
    owners = dict(one.reader.owners)
    one.feed = old
    one.connect()
    one.take(9.0)
    assert (one.session.is_ahead, one.reader.owners, one.reader.begun) == (True, owners, 1)
    await follow(old)
    one.take(9.0)
    assert (one.session.is_ahead, one.reader.owners, one.reader.begun) == (False, owners, 1)
    assert one.reader.beats[-1].revision == one.reader.revision == topology.revision()


async def test_a_restored_database_gives_a_reader_another_table(
    topology: Topology, tmp_path: Path
) -> None:
    feed = feed_of(topology, tmp_path)
    await follow(feed)
    one = Following(feed)
    one.take()
    before = one.reader.table
    advance(topology._store, 20)
    await follow(feed)
    one.take()
    assert one.reader.begun == 2
    assert one.reader.table != before
    assert one.reader.revision == 21


async def test_while_the_database_is_away_the_age_grows(
    topology: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = [100.0]
    builder = BaseBuilder(topology, tmp_path)
    feed = OwnersFeed(topology, builder, clock=lambda: times[-1], poll_s=0.01)
    task = asyncio.create_task(feed.run())
    feed.want()
    while feed.journal.base is None or feed.journal.known_at != times[-1]:
        await asyncio.sleep(0.001)
    failed = asyncio.Event()

    def away(_: int) -> None:
        asyncio_loop.call_soon_threadsafe(failed.set)
        raise Unavailable("the server is gone")

    asyncio_loop = asyncio.get_running_loop()
    with monkeypatch.context() as patch:
        patch.setattr(topology.owners, "since", away)
        times.append(107.0)
        feed.want()
        await failed.wait()
        one = Following(feed)
        one.take(times[-1])
        assert one.reader.beats[-1].age_ms == 7000
    feed.want()
    while feed.journal.known_at != times[-1]:
        await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_nothing_is_read_before_somebody_wants_it(topology: Topology, tmp_path: Path) -> None:
    feed = feed_of(topology, tmp_path, poll_s=0.001)
    task = asyncio.create_task(feed.run())
    await asyncio.sleep(0)
    assert feed.journal.bases == 0
    feed.want()
    while feed.journal.bases == 0:
        await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_changes_that_are_no_claims_bring_the_table_further(
    topology: Topology, tmp_path: Path
) -> None:
    feed = feed_of(topology, tmp_path)
    told: list[int] = []
    feed.serve(lambda: 1, lambda: told.append(feed.journal.revision))
    await follow(feed)
    topology.edge_secrets.rotate(actor=ME, force=True)
    await follow(feed)
    assert told == [2, 3]
    one = Following(feed)
    assert one.session.next(0.0) != []
    late = FollowSession(feed.journal, ClientMessage(1, 2, feed.journal.base.table))
    assert len(late.next(0.0)) == 1, "an edge is told at once, not with the next beat"


def test_readers_of_many_names_use_the_file_of_another_process(
    topology: Topology, tmp_path: Path
) -> None:
    lines = [f'{{"bucket": "route", "value": "r{n}", "cell": "cell-1"}}' for n in range(7000)]
    topology.bulk.import_(lines, actor=ME, reject=lambda _: None, progress=lambda _: None)

    async def build(names_here: int) -> dict[int, int]:
        base, _ = await BaseBuilder(topology, tmp_path, names_here).build()
        reader = Reader(0)
        reader.take_all([base.begin(), *base.frames])
        return reader.owners

    there, here = asyncio.run(build(0)), asyncio.run(build(7000))
    assert there == here
    assert len(there) == 7000
    assert {one.name.partition("-")[0] for one in tmp_path.iterdir()} <= {"t.db", "t.db.lock"}


async def test_a_process_that_fails_says_why(topology: Topology, tmp_path: Path) -> None:
    builder = BaseBuilder(topology, tmp_path, names_here=0)
    topology.claims.claim([ClaimSpec("route", "a", "cell-1")], actor=ME)
    topology._store.url = f"sqlite:///{tmp_path}/none.db"
    with pytest.raises(Unavailable, match=r"reading all owners has failed: .*none\.db"):
        await builder.build()
    with pytest.raises(Unavailable, match=r"has failed: .*No such file or directory"):
        await BaseBuilder(topology, tmp_path / "none", names_here=0).build()
