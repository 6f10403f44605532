"""The claims protocol, step by step: what each call does, refuses, and leaves in the feed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from control_plane.topology import Topology
from control_plane.topology.claims import epochs, leases
from control_plane.topology.claims.update import MAX_BYTES
from control_plane.topology.storage import schema
from control_plane.topology.values.cell import CellState
from control_plane.topology.values.claim import ClaimSpec, RecordSpec, RecordStatus
from control_plane.topology.values.errors import (
    Invalid,
    Locked,
    NotFound,
    Refused,
    TopologyError,
)
from tests.topology.claims.steps import begin, feed, own, owners, route

ME = "tester"
FULL = RecordSpec("username", "Ada", 4, 7, 1, (7).to_bytes(8, "big"), b"\x00any")


def test_a_create_routes_from_begin_on_and_stays_after_commit(two: Topology) -> None:
    done = two.leases.begin(1, [FULL], [], actor=ME)
    made = two.records.get("username", "ADA")
    assert (made.spec.value, made.status, made.lease) == ("Ada", "creating", done.value.uuid)
    assert (made.spec.subject_type, made.spec.subject_id) == (4, 7)
    assert (made.spec.source_type, made.spec.source_id) == (1, FULL.source_id)
    assert made.spec.user_data == b"\x00any"
    assert two.claims.owners_of([("username", "Ada")]) == [1]
    assert two.leases.commit(1, done.value.uuid, actor=ME) == done.revision + 1
    after = two.records.get("username", "ada")
    assert (after.status, after.lease, after.uuid) == ("active", None, made.uuid)
    assert after.created_at == made.created_at <= after.updated_at
    assert feed(two, 2) == [
        (3, "lease", "begin", done.value.uuid),
        (3, "claim", "create", "username:ada"),
        (4, "lease", "commit", done.value.uuid),
    ]
    assert [change.key for change in done.changes] == [done.value.uuid, "username:ada"]


def test_a_rolled_back_create_is_gone(two: Topology) -> None:
    lease = begin(two, [route("a"), route("b")])
    two.leases.roll_back(1, lease, actor=ME)
    assert owners(two, "a", "b") == [None, None]
    deleted = [(kind, action, key) for _, kind, action, key in feed(two, 3)]
    assert sorted(deleted) == [
        ("claim", "delete", "route:a"),
        ("claim", "delete", "route:b"),
        ("lease", "rollback", lease),
    ]
    own(two, "a", cell=2)


def test_a_destroy_frees_the_name_only_at_commit(two: Topology) -> None:
    own(two, "a", "b")
    lease = begin(two, [], [route("A/"), route("b")])
    assert two.records.get("route", "a").status is RecordStatus.DESTROYING
    assert owners(two, "a", "b") == [1, 1]
    with pytest.raises(Locked) as caught:
        begin(two, [route("a")], cell=2)
    assert caught.value.held == (("route:a", lease),)
    two.leases.commit(1, lease, actor=ME)
    own(two, "a", cell=2)
    assert owners(two, "a", "b") == [2, None]


def test_a_rolled_back_destroy_keeps_the_name(two: Topology) -> None:
    own(two, "a")
    two.leases.roll_back(1, begin(two, [], [route("a")]), actor=ME)
    kept = two.records.get("route", "a")
    assert (kept.status, kept.lease) == ("active", None)


@pytest.mark.parametrize(
    ("creates", "destroys", "cell", "error"),
    [
        ([], [], 1, Invalid),
        ([route("x")], [], 9, NotFound),
        ([route("x")], [route("missing")], 1, NotFound),
        ([route("x")], [route("theirs")], 1, Refused),
        ([route("x"), route("X/")], [], 1, Invalid),
        ([], [route("mine"), route("Mine")], 1, Invalid),
        ([route("x"), route("")], [], 1, Invalid),
        ([RecordSpec("project_id", "0")], [], 1, Invalid),
        ([RecordSpec("Bad", "x")], [], 1, Invalid),
        ([route("x", subject_type=-1)], [], 1, Invalid),
        ([route("x", source_type=2**31)], [], 1, Invalid),
        ([route("x", subject_id=2**63)], [], 1, Invalid),
        ([route("x", source_id=b"x" * 256)], [], 1, Invalid),
        ([RecordSpec("project_id", "5", 3, 6)], [], 1, Invalid),
        ([RecordSpec("project_id", "5", 3, 5, 1)], [], 1, Invalid),
        ([route(f"r{n}") for n in range(501)], [route(f"d{n}") for n in range(500)], 1, Invalid),
        ([route("x", user_data=b"x" * MAX_BYTES)], [], 1, Invalid),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(
    two: Topology,
    creates: list[RecordSpec],
    destroys: list[RecordSpec],
    cell: int,
    error: type[TopologyError],
) -> None:
    own(two, "mine")
    own(two, "theirs", cell=2)
    revision = two.revision()
    with pytest.raises(error):
        begin(two, creates, destroys, cell=cell)
    assert (two.revision(), two.open_leases.page()) == (revision, [])
    assert owners(two, "x", "mine", "theirs") == [None, 1, 2]


def test_unknown_numbers_of_newer_clients_are_kept(two: Topology) -> None:
    odd = RecordSpec("jira_client_key", "K", 99, 5, 77, b"\xff")
    begin(two, [odd, RecordSpec("project_id", "5", 3, 5, 4), RecordSpec("user_id", "5", 0, 0, 99)])
    assert two.records.get("jira_client_key", "K").spec == odd


def test_a_retired_cell_begins_nothing(two: Topology) -> None:
    two.cells.set_state("cell-2", CellState.RETIRED, actor=ME, force=True, reason="test")
    with pytest.raises(Refused, match="retired"):
        begin(two, [route("a")], cell=2)


def test_full_batches_of_both_sides_work(two: Topology) -> None:
    names = [f"r{n}" for n in range(1000)]
    own(two, *names)
    lease = begin(two, [route(f"n{n}") for n in range(500)], [route(n) for n in names[:500]])
    two.leases.commit(1, lease, actor=ME)
    assert two.claims.count() == {"route": 1000}
    assert owners(two, "r0", "r499", "r500", "n499") == [None, None, 1, 1]


def test_names_are_swapped_in_one_batch(two: Topology) -> None:
    first, second = (route(n, subject_type=3, subject_id=i) for n, i in (("a", 1), ("b", 2)))
    two.leases.commit(1, begin(two, [first, second]), actor=ME)
    swapped = [route("b", subject_type=3, subject_id=1), route("a", subject_type=3, subject_id=2)]
    lease = begin(two, swapped, [first, second])
    assert two.records.get("route", "a").spec.subject_id == 1, "until the commit the old one stands"
    two.leases.commit(1, lease, actor=ME)
    assert [two.records.get("route", n).spec.subject_id for n in ("a", "b")] == [2, 1]
    assert two.records.get("route", "a").status is RecordStatus.ACTIVE


def test_a_chain_of_renames_in_one_batch(two: Topology) -> None:
    own(two, "a", "b")
    lease = begin(
        two, [route("b", subject_id=1), route("c", subject_id=2)], [route("a"), route("b")]
    )
    two.leases.commit(1, lease, actor=ME)
    assert owners(two, "a", "b", "c") == [None, 1, 1]
    assert [two.records.get("route", n).spec.subject_id for n in ("b", "c")] == [1, 2]


def test_a_replacement_that_is_rolled_back_leaves_the_old_one(two: Topology) -> None:
    two.leases.commit(1, begin(two, [route("a", subject_id=1)]), actor=ME)
    before = two.records.get("route", "a")
    lease = begin(two, [route("a", subject_id=2)], [route("a")])
    two.leases.roll_back(1, lease, actor=ME)
    after = two.records.get("route", "a")
    assert (after.spec, after.uuid, after.status) == (before.spec, before.uuid, "active")
    again = begin(two, [route("a", subject_id=3)], [route("a")])
    two.leases.commit(1, again, actor=ME)
    assert two.records.get("route", "a").spec.subject_id == 3


def test_a_replacement_has_nothing_of_the_old_one(two: Topology) -> None:
    two.claims.claim([ClaimSpec("route", "a", "cell-1", "group 7", "routes 1")], actor=ME)
    done = two.leases.commit(1, begin(two, [route("a", subject_id=2)], [route("a")]), actor=ME)
    claim = two.claims.get("route", "a")
    assert (claim.subject, claim.source, claim.revision) == (None, None, done)


@pytest.mark.parametrize("odd", [False, True])
def test_a_client_that_begins_and_commits_in_turn_lets_nothing_pile_up(
    two: Topology, monkeypatch: pytest.MonkeyPatch, odd: bool
) -> None:
    """All its begins have even revisions, or all have odd ones."""
    monkeypatch.setattr(leases, "_PRUNE_EVERY", 4)
    monkeypatch.setattr(epochs, "_PRUNE_EVERY", 4)
    monkeypatch.setattr(leases, "SETTLED_KEPT", timedelta(seconds=-5))
    monkeypatch.setattr(epochs, "TOMBSTONES_KEPT", timedelta(seconds=-5))
    if odd:
        own(two, "x")
        two.claims.claim([ClaimSpec("route", "y", "cell-1")], actor=ME)
    for number in range(30):
        two.leases.commit(1, begin(two, [route(f"r{number}")]), actor=ME)
        two.leases.commit(1, begin(two, [], [route(f"r{number}")]), actor=ME)
    with two.engine.connect() as connection:
        kept = [
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (schema.leases, schema.tombstones)
        ]
    assert max(kept) < 30, kept


def test_settled_leases_are_forgotten_after_a_day(
    two: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_PRUNE_EVERY", 1)
    old = begin(two, [route("a")])
    two.leases.commit(1, old, actor=ME)
    begin(two, [route("b")])
    assert two.leases.commit(1, old, actor=ME), "still known"
    settled = schema.leases.c.settled_at
    with two._store._write_engine.connect() as connection, connection.begin():
        at = connection.execute(settled.table.select().where(settled.is_not(None))).one().settled_at
        late = at - leases.SETTLED_KEPT - timedelta(seconds=1)
        connection.execute(
            update(schema.leases).where(settled.is_not(None)).values(settled_at=late)
        )
    begin(two, [route("c")])
    with pytest.raises(NotFound):
        two.leases.commit(1, old, actor=ME)
    assert len(two.open_leases.page(1)) == 2


def test_claims_of_one_step_and_of_two_are_the_same_claims(two: Topology) -> None:
    two.claims.claim([ClaimSpec("route", "one", "cell-1")], actor=ME)
    made = two.records.get("route", "one")
    assert (made.status, made.spec.source_id, len(made.uuid)) == ("active", b"", 36)
    two.leases.commit(1, begin(two, [], [route("one")]), actor=ME)
    own(two, "two")
    assert two.claims.get("route", "two").cell == "cell-1"
    two.claims.release([("route", "two")], cell="cell-1", actor=ME)
    assert owners(two, "one", "two") == [None, None]


def test_a_cell_that_is_gone_takes_its_settled_leases_along(two: Topology) -> None:
    lease = begin(two, [route("a")], cell=2)
    two.leases.roll_back(2, lease, actor=ME)
    two.cells.set_state("cell-2", CellState.RETIRED, actor=ME, force=True, reason="test")
    two.cells.remove("cell-2", actor=ME)
    with pytest.raises(NotFound):
        two.leases.roll_back(2, lease, actor=ME)
