"""Open leases: how cells and operators list them, and how operators settle them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from control_plane.topology import Topology
from control_plane.topology.storage import schema
from control_plane.topology.values.claim import RecordSpec
from control_plane.topology.values.errors import (
    Invalid,
    LeaseSettled,
    NotFound,
)
from control_plane.topology.values.lease import LeaseBacklog
from tests.topology.claims.steps import begin, own_records, project, route

ME = "operator"
WHY = "the data centre burnt down"


def test_open_leases_by_age(two: Topology) -> None:
    assert two.open_leases.backlog().open == 0
    made = [
        two.leases.begin(n % 2 + 1, [RecordSpec("route", f"r{n}")], [], actor=ME).value
        for n in range(7)
    ]
    # SQLite's clock has milliseconds: two may be of one.
    begun = [one.uuid for one in sorted(made, key=lambda one: (one.created_at, one.uuid))]
    seen: list[str] = []
    after = None
    while page := two.open_leases.oldest(after=after, limit=2):
        seen += [lease.uuid for lease in page]
        after = (page[-1].created_at, page[-1].uuid)
    assert seen == begun
    of_one = two.open_leases.oldest("cell-2")
    assert [(lease.cell, lease.creating) for lease in of_one] == [("cell-2", 1)] * 3
    assert two.open_leases.oldest(older_than_s=3600) == []
    backlog = two.open_leases.backlog()
    assert (backlog.open, 0 <= backlog.oldest_s < 60) == (7, True)
    two.open_leases.settle(begun[0], "committed", reason="r", actor=ME)
    with pytest.raises(NotFound):
        two.open_leases.get(begun[0])
    assert two.open_leases.backlog().open == 6


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


def test_a_dead_cells_leases_are_settled_either_way(two: Topology) -> None:
    own_records(two, 1, *project(1, "old"))
    lost = [
        two.leases.begin(1, project(n, f"r{n}"), [], actor="c").value.uuid for n in range(1, 251)
    ]
    two.leases.begin(1, [], project(1, "old"), actor="c")
    alive = two.leases.begin(2, project(9, "alive"), [], actor="c").value.uuid
    assert two.open_leases.settle_all("cell-1", "rolled back", reason=WHY, actor=ME) == 251
    assert two.claims.owners_of([("route", "r1"), ("route", "old"), ("route", "alive")]) == [
        None,
        1,
        2,
    ]
    assert [lease.uuid for lease in two.open_leases.page()] == [alive]
    assert two.open_leases.settle_all("cell-1", "rolled back", reason=WHY, actor=ME) == 0
    with pytest.raises(LeaseSettled):
        two.leases.commit(1, lost[0], actor="it lives")
    assert two.open_leases.settle_all("cell-2", "committed", reason=WHY, actor=ME) == 1
    assert two.records.get("route", "alive").status == "active"
    assert two.changes.since(two.revision() - 1)[0].after == {
        "cell_id": 2,
        "state": "committed",
        "reason": WHY,
    }


def test_settling_needs_a_reason_and_a_cell(two: Topology) -> None:
    with pytest.raises(Invalid):
        two.open_leases.settle_all("cell-1", "committed", reason=" ", actor=ME)
    with pytest.raises(NotFound):
        two.open_leases.settle_all("nowhere", "committed", reason=WHY, actor=ME)
