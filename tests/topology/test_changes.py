"""Old changes go in small steps, whole revisions at a time, and never without a reader being told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from control_plane.topology import Pruned, Topology, changes
from control_plane.topology.storage import schema
from control_plane.topology.values.change import Change
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.errors import Gone

ME = "tester"
WEEK = timedelta(days=7)


def claim(topology: Topology, *values: str) -> None:
    topology.claims.claim([ClaimSpec("route", value, "cell-1") for value in values], actor=ME)


def age(topology: Topology, upto: int, by: timedelta) -> None:
    """Have the changes up to a revision be so old."""
    table = schema.changes
    values = {"at": datetime.now(UTC) - by}
    with topology.engine.connect() as connection, connection.begin():
        connection.execute(update(table).where(table.c.revision <= upto).values(values))


def stored(topology: Topology) -> int:
    with topology.engine.connect() as connection:
        return int(
            connection.execute(select(func.count()).select_from(schema.changes)).scalar_one()
        )


def test_only_what_is_old_enough_goes(two: Topology) -> None:
    for name in "abc":
        claim(two, name)
    assert two.changes.prune(older_than=WEEK) == Pruned(0, 0, more=False)
    assert two.changes.since(0)
    age(two, 3, WEEK + timedelta(minutes=5))
    age(two, 1, 2 * WEEK)
    assert two.changes.prunable(older_than=WEEK) == (3, 3)
    assert two.changes.prune(older_than=WEEK) == Pruned(3, 3, more=False)
    assert two.changes.prunable(older_than=WEEK) == (0, 3)
    assert [change.revision for change in two.changes.since(3)] == [4, 5]
    with pytest.raises(Gone, match="up to revision 3 are no longer kept: start anew"):
        two.changes.since(2)
    assert two.changes.oldest() == 3
    assert two.revision() == 5, "forgetting is no change"


def test_a_reader_that_is_up_to_date_is_never_told_to_start_anew(two: Topology) -> None:
    claim(two, "a")
    age(two, 3, WEEK)
    assert two.changes.prune(older_than=timedelta(days=1)).oldest == 3
    assert stored(two) == 0
    assert two.changes.since(3) == []
    claim(two, "b")
    assert [change.key for change in two.changes.since(3)] == ["route:b"]


def test_what_is_kept_is_young_and_among_so_many(two: Topology) -> None:
    for name in "abcdef":
        claim(two, name)
    age(two, 4, 2 * WEEK)
    assert two.changes.prunable(older_than=WEEK, keep=2) == (6, 6)
    assert two.changes.prune(older_than=WEEK, keep=7).oldest == 4
    assert two.changes.prune(older_than=WEEK, keep=2).oldest == 6
    assert two.changes.prune().rows == 0, "no bound, nothing goes"


def test_each_step_is_bounded_and_never_splits_a_revision(
    two: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "PRUNE_ROWS", 4)
    claim(two, *(f"many-{number}" for number in range(9)))
    claim(two, "a", "b", "c")
    claim(two, "d")
    steps = []
    while (step := two.changes.prune(keep=0)).more:
        steps.append((step.rows, step.oldest))
        kept = two.changes.since(step.oldest)
        assert [change.revision for change in kept[:1]] == [step.oldest + 1]
    assert steps == [(2, 2), (9, 3), (3, 4)]
    assert (step.rows, step.oldest, stored(two)) == (1, 5, 0)


def test_what_goes_is_archived_first_or_stays(two: Topology) -> None:
    claim(two, "a", "b")
    everything = two.changes.since(0)
    kept: list[Change] = []

    def full(_: Sequence[Change]) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        two.changes.prune(keep=0, archive=full)
    assert two.changes.since(0) == everything
    two.changes.prune(keep=0, archive=kept.extend)
    assert kept == everything
    assert stored(two) == 0


def test_what_a_restore_has_left_below_the_floor_goes_too(two: Topology) -> None:
    claim(two, "a")
    with two.engine.connect() as connection, connection.begin():
        raised = {"revision": 50, "edge_revision": 50, "oldest_change": 50}
        connection.execute(update(schema.revisions).values(raised))
    assert two.claims.audit("route", "a"), "a restore keeps the audit of claims"
    assert two.changes.prune(keep=48) == Pruned(50, 2, more=False)
    assert two.changes.prune(keep=0) == Pruned(50, 1, more=False)
    assert two.claims.audit("route", "a") == []
    assert two.changes.since(50) == []


def test_the_feed_says_when_it_no_longer_reaches_back(two: Topology) -> None:
    for number in range(5):
        two.claims.claim([ClaimSpec("route", f"r{number}", "cell-1")], actor=ME)
    assert two.changes.prune(keep=3) == Pruned(4, 4, more=False)
    with pytest.raises(Gone) as caught:
        two.changes.since(3)
    assert caught.value.oldest == 4
    assert [change.revision for change in two.changes.since(4)] == [5, 6, 7]


def test_a_page_of_the_feed_never_splits_a_revision(two: Topology) -> None:
    two.claims.claim([ClaimSpec("route", f"r{i}", "cell-1") for i in range(10)], actor=ME)
    page = two.changes.since(2, limit=4)
    assert [change.revision for change in page] == [3] * 10
