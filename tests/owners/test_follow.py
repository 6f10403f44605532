"""One reader: whatever it had and however its journal moves, it ends with the journal's owners."""

from __future__ import annotations

import random
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.owners.follow import BEAT_S, FollowSession, Pace, WrongKey
from control_plane.owners.frames import (
    CHANGES,
    MAX_RECORDS,
    NOBODY,
    STATUS,
    BadFrame,
    ClientMessage,
    decode,
)
from control_plane.owners.journal import Journal
from tests.owners.tables import KEY_ID, TABLE, Reader, base, journal


def catch_up(session: FollowSession, reader: Reader, now: float = 0.0) -> None:
    while frames := session.next(now):
        reader.take_all(frames)


def test_who_has_nothing_is_sent_the_base_and_the_changes_since() -> None:
    one, reader = journal({1: 4, 2: 4}, 12), Reader()
    one.append(13, [(2, NOBODY), (3, 9)])
    one.seal()
    catch_up(FollowSession(one, reader.follow()), reader)
    assert (reader.owners, reader.revision, len(reader.beats)) == ({1: 4, 3: 9}, 13, 1)


def test_who_comes_back_is_sent_what_it_lacks() -> None:
    one, reader = journal({1: 4}, 12), Reader()
    catch_up(FollowSession(one, reader.follow()), reader)
    one.append(13, [(2, 9)])
    one.seal()
    session = FollowSession(one, reader.follow())
    (change,) = session.next(0.0)
    assert decode(change).kind == CHANGES
    assert change is (one.frames(0, 1) or ())[0], "its bytes are those of all readers"


def test_who_lacks_nothing_is_sent_a_beat_at_once_and_then_at_each_tick() -> None:
    one, reader = journal({}, 12), Reader()
    catch_up(FollowSession(one, reader.follow()), reader)
    session = FollowSession(one, reader.follow())
    times = [now for now in (0.1, 0.2, 0.26, 0.3, 0.51) if session.next(now)]
    assert times == [0.1, 0.26, 0.51]
    assert BEAT_S == 0.25


def test_who_is_too_old_is_sent_a_new_table() -> None:
    one = journal({1: 4}, 12)
    reader = Reader()
    reader.table, reader.revision, reader.owners = TABLE, 11, {9: 9}
    catch_up(FollowSession(one, reader.follow()), reader)
    assert (reader.owners, reader.begun) == ({1: 4}, 1)


def test_who_has_another_lineage_is_sent_a_new_table_whatever_its_revision_is() -> None:
    one = journal({1: 4}, 12)
    for revision in (3, 12, 99):
        reader = Reader()
        reader.table, reader.revision = TABLE + 1, revision
        catch_up(FollowSession(one, reader.follow()), reader)
        assert (reader.table, reader.revision, reader.begun) == (TABLE, 12, 1)


def test_who_is_newer_than_the_journal_is_sent_nothing_until_the_journal_has_caught_up() -> None:
    one, reader = journal({1: 4}, 12), Reader()
    reader.table, reader.revision, reader.owners = TABLE, 14, {1: 5}
    session = FollowSession(one, reader.follow())
    assert (list(session.next(0.0)), session.is_ahead) == ([], True)
    one.append(13, [(1, 9)])
    one.seal()
    assert not session.next(0.0)
    one.append(15, [(1, 5), (2, 7)])
    one.seal()
    catch_up(session, reader)
    assert (reader.owners, reader.revision, session.is_ahead) == ({1: 5, 2: 7}, 15, False)


def test_who_has_another_key_is_told() -> None:
    one = journal({1: 4}, 12)
    with pytest.raises(WrongKey, match="another key"):
        FollowSession(one, Reader(key_id=KEY_ID + 1).follow()).next(0.0)
    assert FollowSession(one, Reader(key_id=0).follow()).next(0.0)


def test_who_does_not_follow_is_refused() -> None:
    with pytest.raises(BadFrame, match="must be FOLLOW"):
        FollowSession(Journal(), ClientMessage(STATUS, source=1))


def test_who_comes_before_there_is_a_base_waits_for_it() -> None:
    one, reader = Journal(), Reader()
    session = FollowSession(one, reader.follow())
    assert not session.next(0.0)
    one.begin(base({1: 4}, 12))
    catch_up(session, reader)
    assert reader.owners == {1: 4}


def test_a_new_lineage_reaches_those_that_follow_the_old_one() -> None:
    one, reader = journal({1: 4}, 12), Reader()
    session = FollowSession(one, reader.follow())
    catch_up(session, reader)
    one.begin(base({1: 7}, 3, table=TABLE + 1))
    catch_up(session, reader, 1.0)
    assert (reader.table, reader.owners, reader.revision) == (TABLE + 1, {1: 7}, 3)


def test_a_lineage_that_begins_anew_amid_a_base_starts_the_reader_over() -> None:
    one, reader = journal(dict.fromkeys(range(6 * MAX_RECORDS), 4), 12), Reader()
    reader.table, reader.revision = TABLE + 1, 50
    session = FollowSession(one, reader.follow())
    for _ in range(2):
        reader.take_all(session.next(0.0))
    one.begin(base({1: 7}, 13))
    catch_up(session, reader)
    assert (reader.owners, reader.revision, reader.begun) == ({1: 7}, 13, 2)


def test_a_slow_reader_keeps_its_base_through_one_new_one_and_not_through_two() -> None:
    owners = dict.fromkeys(range(6 * MAX_RECORDS), 4)
    for bases, begun in ((1, 1), (2, 2)):
        one, reader = journal(owners, 12), Reader()
        session = FollowSession(one, reader.follow())
        reader.take_all(session.next(0.0))
        for number in range(bases):
            one.append(13 + number, [(1, 5 + number)])
            one.rebase(base(owners | {1: 5 + number}, 13 + number))
        catch_up(session, reader)
        assert (reader.owners[1], reader.begun) == (4 + bases, begun)


def test_a_reader_whose_changes_are_dropped_is_sent_a_new_table() -> None:
    one, reader = journal({}, 1, max_log_bytes=300), Reader()
    session = FollowSession(one, reader.follow())
    catch_up(session, reader)
    for revision in range(2, 30):
        one.append(revision, [(revision, 1)])
        one.seal()
    one.rebase(base(dict.fromkeys(range(2, 30), 1), 29))
    one.append(30, [(30, 1)])
    one.seal()
    catch_up(session, reader, 1.0)
    assert (reader.owners, reader.begun) == (dict.fromkeys(range(2, 31), 1), 2)


def test_the_more_readers_the_longer_changes_are_gathered() -> None:
    pace = Pace()
    assert pace.wait(10.0) == 0
    pace.sealed(10.0, readers=1)
    assert pace.wait(10.0) < 0.001
    pace.sealed(10.0, readers=100_000)
    assert pace.wait(10.1) == pytest.approx(0.15)
    assert pace.wait(11.0) == 0


class World:
    """The truth at each revision, and replicas that read it at their own pace and group it so."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.history: list[dict[int, int]] = [{}, {1: 1, 2: 1, 3: 2}]
        """By revision."""
        self.changes: list[dict[int, int]] = [{}, {}]
        self.replicas = [journal(self.history[1], 1, max_log_bytes=600) for _ in range(2)]
        self.fed = [1, 1]

    def commit(self) -> None:
        h, cell = self.random.randrange(4), self.random.randrange(4)
        change = {} if self.random.random() < 0.2 else {h: cell}
        owners = self.history[-1] | change
        self.history.append({h: cell for h, cell in owners.items() if cell != NOBODY})
        self.changes.append(change)

    def feed(self, index: int) -> None:
        """Let a replica read some revisions."""
        one = self.replicas[index]
        for _ in range(self.random.randrange(1, 5)):
            if self.fed[index] + 1 < len(self.history):
                self.fed[index] += 1
                change = self.changes[self.fed[index]]
                if change:
                    one.append(self.fed[index], change.items())
                else:
                    one.advance(self.fed[index])
        if self.random.random() < 0.7:
            one.seal()

    def rebase(self, index: int) -> None:
        one = self.replicas[index]
        one.rebase(base(self.history[one.revision], one.revision))


@given(st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_a_reader_of_changing_replicas_never_has_an_owner_older_than_it_says(seed: int) -> None:
    # Frames of two records, so that groups of several frames come often.
    with patch("control_plane.owners.base.MAX_RECORDS", 2):
        follow_changing_replicas(seed)


def follow_changing_replicas(seed: int) -> None:
    world, reader = World(seed), Reader()
    draw = world.random
    session = FollowSession(world.replicas[0], reader.follow())
    for step in range(60):
        match draw.randrange(7):
            case 0 | 1:
                world.commit()
            case 2 | 3:
                world.feed(draw.randrange(2))
            case 4:
                world.rebase(draw.randrange(2))
            case 5:
                session = FollowSession(world.replicas[draw.randrange(2)], reader.follow())
            case _:
                # The connection may be cut anywhere.
                frames = session.next(float(step))
                arrived = draw.choice((len(frames), draw.randrange(len(frames) + 1)))
                reader.take_all(frames[:arrived])
                if arrived < len(frames):
                    session = FollowSession(world.replicas[draw.randrange(2)], reader.follow())
                check(world, reader)
    for index in (0, 1):
        while world.fed[index] + 1 < len(world.history):
            world.feed(index)
        world.replicas[index].seal()
        catch_up(FollowSession(world.replicas[index], reader.follow()), reader, 100.0 + index)
        assert reader.owners == world.history[-1]
        assert reader.revision == len(world.history) - 1


def check(world: World, reader: Reader) -> None:
    """Assert that each owner is that of some revision from the reader's on."""
    for h in range(4):
        since = {owners.get(h) for owners in world.history[reader.revision :]}
        assert reader.table == 0 or reader.owners.get(h) in since
