"""The claims protocol, step by step: what each call does, refuses, and leaves in the feed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from control_plane.topology import LeaseBacklog, Topology
from control_plane.topology.claims import epochs, leases
from control_plane.topology.claims.update import MAX_BYTES
from control_plane.topology.storage import schema
from control_plane.topology.values.cell import CellState
from control_plane.topology.values.claim import ClaimSpec, RecordSpec, RecordStatus
from control_plane.topology.values.errors import (
    AlreadyExists,
    Invalid,
    LeaseSettled,
    Locked,
    NotFound,
    Refused,
    TopologyError,
)

ME = "tester"
FULL = RecordSpec("username", "Ada", 4, 7, 1, (7).to_bytes(8, "big"), b"\x00any")


def route(name: str, **more: Any) -> RecordSpec:
    return RecordSpec("route", name, **more)


def begin(
    topology: Topology,
    creates: list[RecordSpec],
    destroys: list[RecordSpec] | None = None,
    cell: int = 1,
    key: str | None = None,
) -> str:
    done = topology.leases.begin(cell, creates, destroys or [], actor=ME, idempotency_key=key)
    return done.value.uuid


def own(topology: Topology, *names: str, cell: int = 1) -> None:
    topology.leases.commit(cell, begin(topology, [route(n) for n in names], cell=cell), actor=ME)


def owners(topology: Topology, *names: str) -> list[int | None]:
    return topology.claims.owners_of([("route", name) for name in names])


def feed(topology: Topology, since: int) -> list[tuple[int, str, str, str]]:
    changes = topology.changes.since(since)
    return [(c.revision, c.kind, c.action, c.key) for c in changes]


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


def test_what_is_taken_is_listed_and_nothing_is_done(two: Topology) -> None:
    own(two, "a", cell=2)
    mine = begin(two, [route("b")])
    revision = two.revision()
    with pytest.raises(AlreadyExists) as caught:
        begin(two, [route("new"), route("a"), route("b")])
    assert set(caught.value.taken) == {("route:a", "cell-2"), ("route:b", "cell-1")}
    assert owners(two, "new") == [None]
    assert two.revision() == revision
    assert [lease.uuid for lease in two.open_leases.page(1)] == [mine]
    assert feed(two, revision) == []


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
    two.cells.set_state("cell-2", CellState.RETIRED, actor=ME, force=True)
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


def test_a_value_that_is_being_replaced_does_not_get_free(two: Topology) -> None:
    own(two, "a", "b")
    lease = begin(two, [route("a", subject_id=1)], [route("a"), route("b")])
    with pytest.raises(AlreadyExists) as caught:
        begin(two, [route("a"), route("b")], cell=2)
    assert caught.value.taken == (("route:a", "cell-1"),), "not: try later"
    with pytest.raises(Locked):
        begin(two, [route("b")], cell=2)
    two.leases.commit(1, lease, actor=ME)
    with pytest.raises(AlreadyExists):
        begin(two, [route("a")], cell=2)
    begin(two, [route("b")], cell=2)


def test_what_stays_taken_goes_before_what_may_get_free(two: Topology) -> None:
    own(two, "a")
    own(two, "theirs", cell=2)
    begin(two, [], [route("a")])
    with pytest.raises(AlreadyExists) as caught:
        begin(two, [route("theirs")], [route("a")])
    assert caught.value.taken == (("route:theirs", "cell-2"),)
    begin(two, [], [route("theirs")], cell=2)
    with pytest.raises(Locked) as held:
        begin(two, [route("theirs")], [route("a")])
    assert [key for key, _ in held.value.held] == ["route:a", "route:theirs"], "all of them"


@pytest.mark.parametrize("odd", [False, True])
def test_a_client_that_begins_and_commits_in_turn_lets_nothing_pile_up(
    two: Topology, monkeypatch: pytest.MonkeyPatch, odd: bool
) -> None:
    """All its begins have even revisions, or all have odd ones."""
    monkeypatch.setattr(leases, "_PRUNE_EVERY", 4)
    monkeypatch.setattr(epochs, "_PRUNE_EVERY", 4)
    monkeypatch.setattr(leases, "SETTLED_KEPT", timedelta(seconds=-5))
    monkeypatch.setattr(epochs, "KEPT", timedelta(seconds=-5))
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


def test_only_what_one_owns_can_be_replaced(two: Topology) -> None:
    own(two, "a", cell=2)
    with pytest.raises(Refused):
        begin(two, [route("a")], [route("a")])
    with pytest.raises(NotFound):
        begin(two, [route("zz")], [route("zz")])


def test_a_leased_claim_is_in_nobody_elses_reach(two: Topology) -> None:
    own(two, "a")
    lease = begin(two, [route("new")], [route("a")])
    for destroyed in ("a", "new"):
        with pytest.raises(Locked) as caught:
            begin(two, [], [route(destroyed)])
        assert caught.value.held == ((f"route:{destroyed}", lease),)
        with pytest.raises(Locked):
            two.claims.release([("route", destroyed)], actor=ME)
    with pytest.raises(AlreadyExists):
        two.claims.claim([ClaimSpec("route", "new", "cell-2")], actor=ME)


def test_settling_again_is_the_same_and_the_other_way_is_refused(two: Topology) -> None:
    committed, undone = begin(two, [route("a")]), begin(two, [route("b")])
    revision = two.leases.commit(1, committed, actor=ME)
    back = two.leases.roll_back(1, undone, actor=ME)
    assert two.leases.commit(1, committed, actor=ME) == revision
    assert two.leases.roll_back(1, undone, actor=ME) == back == two.revision()
    with pytest.raises(LeaseSettled) as caught:
        two.leases.roll_back(1, committed, actor=ME)
    assert caught.value.outcome == "committed"
    with pytest.raises(LeaseSettled):
        two.leases.commit(1, undone, actor=ME)
    assert owners(two, "a", "b") == [1, None]


@pytest.mark.parametrize("lease", ["", "no such lease", "x" * 1000])
def test_an_unknown_lease_is_not_found(two: Topology, lease: str) -> None:
    with pytest.raises(NotFound):
        two.leases.commit(1, lease, actor=ME)
    with pytest.raises(NotFound):
        two.leases.roll_back(1, lease, actor=ME)


def test_another_cells_lease_is_not_found_and_untouched(two: Topology) -> None:
    lease = begin(two, [route("a")])
    with pytest.raises(NotFound):
        two.leases.commit(2, lease, actor=ME)
    with pytest.raises(NotFound):
        two.leases.roll_back(2, lease, actor=ME)
    assert two.records.get("route", "a").status is RecordStatus.CREATING


def test_the_same_key_gives_the_same_lease(two: Topology) -> None:
    first = begin(two, [route("a"), route("b")], key="op-1")
    revision = two.revision()
    assert begin(two, [route("b"), route("a")], key="op-1") == first
    assert two.revision() == revision
    for other in ([route("c")], [route("b"), route("A")]):
        with pytest.raises(Invalid, match="another batch"):
            begin(two, other, key="op-1")
    assert begin(two, [route("c")], cell=2, key="op-1") != first, "keys are each cell's own"
    two.leases.commit(1, first, actor=ME)
    assert begin(two, [route("a"), route("b")], key="op-1") == first
    for key in ("", "x" * 257, "a\x00b"):
        with pytest.raises(Invalid):
            begin(two, [route("d")], key=key)


def test_open_leases_are_listed_by_uuid(two: Topology) -> None:
    mine = sorted(begin(two, [route(f"r{n}")]) for n in range(7))
    theirs = begin(two, [route("t")], cell=2)
    two.leases.commit(1, mine.pop(3), actor=ME)
    listed: list[str] = []
    after = None
    while page := two.open_leases.page(1, after=after, limit=2):
        listed += [lease.uuid for lease in page]
        after = page[-1].uuid
    assert listed == mine
    assert {lease.uuid for lease in two.open_leases.page()} == {*mine, theirs}
    newest = max(lease.created_at for lease in two.open_leases.page())
    assert two.open_leases.page(created_after=newest) == []
    assert len(two.open_leases.page(created_after=newest - timedelta(hours=1))) == 7


def test_open_leases_are_told_by_age_of_the_databases_clock(two: Topology) -> None:
    assert two.open_leases.backlog() == LeaseBacklog(0, 0.0)
    old = begin(two, [route("a")], cell=2)
    begin(two, [route("b")])
    begin(two, [route("c")])
    created = schema.leases.c.created_at
    with two._store._write_engine.connect() as connection, connection.begin():
        at = next(one.created_at for one in two.open_leases.page() if one.uuid == old)
        earlier = at - timedelta(hours=2)
        where = schema.leases.c.uuid == old
        connection.execute(update(schema.leases).where(where).values({created: earlier}))
    backlog = two.open_leases.backlog()
    assert (backlog.open, 7200 <= backlog.oldest_s < 7200 + 600) == (3, True)
    oldest = two.open_leases.oldest()[0]
    assert (oldest.cell, 7200 <= oldest.age_s < 7200 + 600) == ("cell-2", True)


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


def sourced(bucket: str, value: str, source: int, table: int = 1) -> RecordSpec:
    return RecordSpec(bucket, value, source_type=table, source_id=source.to_bytes(8, "big"))


def test_records_come_by_source_id_and_never_split_one(two: Topology) -> None:
    specs = [sourced(b, f"{n}", n) for n in range(1, 301) for b in ("username", "user_id")]
    two.leases.commit(1, begin(two, [*specs, sourced("email", "a@b.c", 5, table=2)]), actor=ME)
    own(two, "unsourced")
    seen: list[str] = []
    after, cut = b"", True
    while cut:
        page, cut = two.records.page(1, source_type=1, after=after, limit=101)
        assert page[-1].spec.source_id > after, "the cursor advances"
        after = page[-1].spec.source_id
        seen += [f"{one.spec.bucket}:{one.spec.value}" for one in page]
    assert len(seen) == len(set(seen)) == 600
    middle, cut = two.records.page(
        1, source_type=1, buckets=["username"], after=specs[0].source_id, upto=specs[5].source_id
    )
    assert ([one.spec.value for one in middle], cut) == (["2", "3"], False)
    assert two.records.page(2, source_type=1) == ([], False)
    assert two.records.page(1, source_type=14) == ([], False)
    first, cut = two.records.page(1, source_type=1, limit=1)
    assert ([one.spec.bucket for one in first], cut) == (["user_id", "username"], True)
    with pytest.raises(Invalid):
        two.records.page(1, source_type=0)


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
    two.cells.set_state("cell-2", CellState.RETIRED, actor=ME, force=True)
    two.cells.remove("cell-2", actor=ME)
    with pytest.raises(NotFound):
        two.leases.roll_back(2, lease, actor=ME)
