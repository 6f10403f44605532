"""What a write in progress says of itself."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from control_plane.topology import Topology
from control_plane.topology.storage.transaction import MAX_ACTOR_CHARS, Transaction, bounded
from tests.topology.conftest import cell_spec


def logged(tx: Transaction) -> str:
    tx.log("cell", "note", "a", None, {"n": 1})
    return "value"


def test_a_write_gives_its_own_revision_and_changes(two: Topology) -> None:
    written = two._store.written("me", logged)
    assert (written.value, written.revision) == ("value", 3)
    assert [(one.revision, one.actor, one.key) for one in written.changes] == [(3, "me", "a")]
    assert two.revision() == 3


def test_a_dry_run_gives_its_changes_at_the_revision_that_stands(two: Topology) -> None:
    written = two._store.written("me", logged, dry_run=True)
    assert (written.revision, len(written.changes)) == (2, 1)
    assert two.revision() == 2


def test_a_write_that_changes_nothing_takes_no_revision(two: Topology) -> None:
    assert two._store.written("me", lambda _: None).revision == 2


def test_an_abandoned_write_takes_no_revision_and_leaves_no_change(two: Topology) -> None:
    def work(tx: Transaction) -> None:
        logged(tx)
        tx.abandoned = True

    assert two._store.written("me", work).revision == 2
    assert two.changes.since(2) == []


def test_what_must_happen_before_the_commit_can_prevent_it(two: Topology) -> None:
    def work(tx: Transaction) -> None:
        logged(tx)
        tx.before_commit.append(fail)

    def fail() -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        two._store.written("me", work)
    assert two.revision() == 2
    assert two.cells.create(cell_spec(3), actor="me").revision == 3


def test_work_that_is_due_now_and_then_is_so_whatever_the_rhythm(two: Topology) -> None:
    at = datetime.now(UTC)
    with two._store.read() as connection:
        for step in (1, 2):
            revisions = range(1, 4000, step)
            due = sum(Transaction(connection, one, "me", at).due(16) for one in revisions)
            assert 0.7 < due * 16 / len(revisions) < 1.3


def test_an_actor_is_stored_as_text_that_both_databases_take() -> None:
    assert bounded("a\0b\ud800") == "a\N{REPLACEMENT CHARACTER}b?"
    assert len(bounded("x" * 1000)) == MAX_ACTOR_CHARS


def test_nothing_is_sent_without_a_statement(two: Topology) -> None:
    assert two._store.write("me", lambda tx: tx.execute([]))[0] == []
