"""The journal: positions of revisions, groups, what is dropped, and when a new base is due."""

from __future__ import annotations

import pytest

from control_plane.owners.frames import CUT_OFF, MAX_RECORDS, decode
from control_plane.owners.journal import Journal
from tests.owners.tables import TABLE, base, journal


def revisions(one: Journal, position: int | None) -> list[int]:
    assert position is not None
    frames = one.frames(position, 1 << 30)
    assert frames is not None
    return [decode(frame).revision for frame in frames]


def put(one: Journal, revision: int, *records: tuple[int, int]) -> None:
    one.append(revision, records)
    one.seal()


def test_a_reader_goes_on_after_what_it_has() -> None:
    one = journal({1: 4}, 12)
    put(one, 13, (2, 9))
    put(one, 20, (3, 9))
    assert revisions(one, one.position_after(12)) == [13, 20]
    assert revisions(one, one.position_after(13)) == [20]
    assert revisions(one, one.position_after(20)) == []


def test_a_revision_amid_a_group_begins_at_its_begin() -> None:
    one = journal({}, 5)
    put(one, 7, (1, 1))
    put(one, 20, *[(h, 2) for h in range(MAX_RECORDS + 1)])
    put(one, 30, (1, 1))
    assert revisions(one, one.position_after(7)) == [7, 20, 30]
    assert revisions(one, one.position_after(8)) == [7, 20, 30]
    assert revisions(one, one.position_after(20)) == [30]
    assert revisions(one, one.position_after(6)) == [7, 7, 20, 30]


def test_the_parts_of_a_group_right_after_the_base_are_sent_to_who_has_the_base() -> None:
    one = journal({}, 5)
    put(one, 8, *[(h, 2) for h in range(2 * MAX_RECORDS + 1)])
    assert revisions(one, one.position_after(5)) == [5, 5, 8]
    assert revisions(one, one.position_after(6)) == [5, 5, 8]


def test_a_group_after_silent_revisions_never_says_less_than_a_beat_before_it() -> None:
    one = journal({}, 5)
    one.advance(9)
    assert decode(one.beat(0.0)).revision == 9
    put(one, 12, *[(h, 2) for h in range(MAX_RECORDS + 1)])
    assert revisions(one, one.position_after(9)) == [9, 12]
    assert revisions(one, one.position_after(5)) == [9, 9, 12]


def test_within_a_group_each_fingerprint_stands_once_with_its_newest_owner() -> None:
    one = journal({}, 1)
    one.append(2, [(7, 1), (8, 1)])
    one.append(3, [(7, 2)])
    one.seal()
    frames = one.frames(0, 1 << 20)
    assert frames is not None
    assert [sorted(decode(frame).records()) for frame in frames] == [[(7, 2), (8, 1)]]


def test_what_is_appended_is_seen_when_it_is_sealed() -> None:
    one = journal({}, 1)
    one.append(2, [(7, 1)])
    assert (one.revision, one.end, one.has_pending) == (1, 0, True)
    one.seal()
    assert (one.revision, one.end, one.has_pending) == (2, 1, False)


def test_a_full_frame_does_not_wait() -> None:
    one = journal({}, 1)
    one.append(2, [(h, 1) for h in range(MAX_RECORDS)])
    assert one.end == 1


def test_a_beat_says_how_long_ago_the_newest_revision_was_known() -> None:
    one = journal({}, 1)
    assert decode(one.beat(50.0)).age_ms == 0xFFFFFFFF
    one.confirm(50.0)
    assert decode(one.beat(50.25)).age_ms == 250
    one.append(2, [(7, 1)])
    one.confirm(50.5)
    assert decode(one.beat(50.5)).age_ms == 500, "revision 1 is no longer the newest"
    one.seal()
    assert decode(one.beat(50.5)).age_ms == 0
    one.cut_off = True
    assert decode(one.beat(51.5)).flags == CUT_OFF


def test_revisions_without_changes_wait_for_the_changes_before_them() -> None:
    one = journal({}, 1)
    one.append(2, [(7, 1)])
    one.advance(5)
    assert one.revision == 1
    one.seal()
    assert one.revision == 5


@pytest.mark.parametrize("revision", [0, 1])
def test_a_revision_that_is_not_newer_is_refused(revision: int) -> None:
    one = journal({}, 1)
    with pytest.raises(ValueError, match="is not after"):
        one.append(revision, [])


def test_a_log_that_outgrows_its_bound_wants_a_new_base_and_then_drops_the_oldest() -> None:
    one, revision = journal({}, 1, max_log_bytes=2_000), 1
    while not one.is_full:
        revision += 1
        put(one, revision, (revision, 1))
    assert one.position_after(1) == 0, "who has the base needs all of the log"
    one.rebase(base({}, revision))
    assert one.position_after(1) == 0, "what fits is kept for readers that were away"
    last = revision + 40
    for later in range(revision + 1, last + 1):
        put(one, later, (later, 1))
    assert one.position_after(1) is None
    assert one.frames(0, 1) is None
    assert revisions(one, one.position_after(last - 3)) == [last - 2, last - 1, last]


def test_a_log_never_drops_what_who_has_the_base_needs() -> None:
    one = journal({}, 1, max_log_bytes=500)
    for revision in range(2, 50):
        put(one, revision, (revision, 1))
    assert one.position_after(1) == 0


def test_a_log_is_never_cut_amid_a_group() -> None:
    one = journal({}, 1, max_log_bytes=70_000)
    put(one, 3, *[(h, 2) for h in range(2 * MAX_RECORDS + 1)])
    put(one, 4, *[(h, 3) for h in range(2 * MAX_RECORDS + 1)])
    one.rebase(base({}, 4))
    position = one.position_after(3)
    assert position is not None
    assert revisions(one, position) == [3, 3, 4]
    assert one.position_after(2) is None


def test_a_base_of_another_lineage_or_of_an_unknown_revision_is_refused() -> None:
    one = journal({}, 5)
    for wrong in (base({}, 5, table=TABLE + 1), base({}, 5, key_id=9), base({}, 4), base({}, 6)):
        with pytest.raises(ValueError, match="the base is of"):
            one.rebase(wrong)
    with pytest.raises(ValueError, match="begin with it"):
        Journal().rebase(base({}, 5))


def test_frames_of_another_journal_are_relayed_as_they_are() -> None:
    first, second = journal({}, 5), journal({}, 5)
    first.advance(6)
    put(first, 8, *[(h, 2) for h in range(MAX_RECORDS + 1)])
    frames = first.frames(0, 1 << 30)
    assert frames is not None
    for data in frames:
        second.relay(data, decode(data))
    assert second.frames(0, 1 << 30) == frames
    assert second.revision == 8


def test_parts_of_a_group_that_follow_a_silent_revision_are_not_taken_for_its_end() -> None:
    one = journal({}, 5)
    one.advance(9)
    part = journal({}, 9)
    put(part, 12, *[(h, 2) for h in range(MAX_RECORDS + 1)])
    for data in part.frames(0, 1 << 30) or ():
        one.relay(data, decode(data))
    assert revisions(one, one.position_after(9)) == [9, 12]


@pytest.mark.parametrize("wrong", [base({}, 9).begin(), base({}, 9).frames[0]])
def test_what_is_no_change_is_not_relayed(wrong: bytes) -> None:
    with pytest.raises(ValueError, match="no change of this table"):
        journal({}, 5).relay(wrong, decode(wrong))


def test_a_change_that_goes_back_is_not_relayed() -> None:
    old = journal({}, 2)
    put(old, 3, (1, 1))
    (data,) = old.frames(0, 100) or ()
    with pytest.raises(ValueError, match="came after"):
        journal({}, 5).relay(data, decode(data))
