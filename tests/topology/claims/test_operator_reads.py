"""What operators read and write of leases, operations, tokens and whole topologies, on both engines."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from control_plane.topology import OperationState, Scope, Topology
from control_plane.topology.maintenance.backup import advance
from control_plane.topology.maintenance.desired import Desired
from control_plane.topology.values.claim import ClaimSpec, RecordSpec
from control_plane.topology.values.errors import Gone, NotFound, Refused, StaleVersion
from tests.topology.conftest import cell_spec

ME = "operator"
RULES = {"rules": [{"id": "all", "action": "proxy", "on_cell_down": 503}]}


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


def test_operations_are_listed_newest_first(two: Topology) -> None:
    before = two.revision()
    begun = [two.operations.start("k", f"t{n}", None, actor=ME) for n in range(5)]
    with pytest.raises(Refused):
        two.operations.start("k", "t1", None, actor=ME)
    two.operations.note(begun[1].id, 7, OperationState.FAILED, "x" * 5000)
    ended = two.operations.get(begun[1].id)
    assert (ended.done, ended.state, len(ended.detail)) == (7, "failed", 1000)
    two.operations.start("k", "t1", None, actor=ME)
    seen: list[str] = []
    after = None
    while page := two.operations.page(before=after, limit=2):
        seen += [one.id for one in page]
        after = (page[-1].started_at, page[-1].id)
    assert seen[1:] == [one.id for one in reversed(begun)]
    assert two.revision() == before, "they are no changes"


def test_tokens(two: Topology) -> None:
    made = two.tokens.create("a", Scope.OPERATOR, actor=ME, life=timedelta(hours=1)).value
    assert two.tokens.verify(made.secret) == made.token == two.tokens.all()[0]
    assert two.tokens.verify(made.secret[:-2] + "zz") is None
    assert two.tokens.verify("cw_nonsense") is None
    assert (
        two.tokens.create("b", Scope.ADMIN, actor=ME, dry_run=True).value.token
        not in two.tokens.all()
    )
    two.tokens.revoke("a", actor=ME)
    assert two.tokens.verify(made.secret) is None
    (created, revoked) = [c for c in two.changes.since(0) if c.kind == "token"]
    assert (created.action, revoked.action) == ("create", "revoke")
    assert made.secret[20:] not in json.dumps([created.as_dict(), revoked.as_dict()])


def test_a_whole_topology_is_applied_from_one_known_revision(two: Topology) -> None:
    base = two.revision()
    cells = [replace(cell_spec(1), weight=7, id=1), cell_spec(2), cell_spec(3)]
    desired = Desired(cells, {"r": RULES}, "r")
    told = two.desired.apply(desired, base=base, actor=ME, dry_run=True)
    keys = [(c.action, c.key) for c in told.changes]
    assert keys == [
        ("update", "cell-1"), ("create", "cell-3"), ("create", "r@1"), ("activate", "r@1"),
    ]  # fmt: skip
    assert (two.revision(), len(two.cells.all())) == (base, 2)
    two.claims.claim([ClaimSpec("route", "a", "cell-1")], actor=ME)
    two.cells.set_health("cell-2", healthy=False, actor="health")
    done = two.desired.apply(desired, base=base, actor=ME)
    assert [(c.action, c.key) for c in done.changes] == keys
    assert done.revision == two.revision()
    assert two.cells.get("cell-2").healthy is False
    again = two.desired.apply(desired, base=two.revision(), actor=ME)
    assert (again.changes, again.revision) == ((), done.revision)
    with pytest.raises(StaleVersion):
        two.desired.apply(desired, base=base, actor=ME)
    two.changes.prune(keep=0)
    two.claims.claim([ClaimSpec("route", "b", "cell-1")], actor=ME)
    with pytest.raises(StaleVersion):
        two.desired.apply(desired, base=base, actor=ME)
    two.rulesets.put("r", json.dumps({"rules": []}), actor=ME)
    assert two.desired.apply(desired, base=two.revision(), actor=ME).changes == (), (
        "what routes is as said"
    )


def test_revisions_go_on_above_what_a_fleet_has_seen(two: Topology) -> None:
    assert advance(two._store, 500) == 501
    assert two.revision() == 501
    assert advance(two._store, 3) == 502
    assert two.snapshot().edge_revision == 502
    with pytest.raises(Gone):
        two.changes.since(5)
    assert two.claims.claim([ClaimSpec("route", "a", "cell-1")], actor=ME).revision == 503
