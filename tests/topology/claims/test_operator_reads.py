"""What operators read and write of leases, operations, tokens and whole topologies, on both engines."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from control_plane.topology import Topology
from control_plane.topology.maintenance.backup import advance
from control_plane.topology.maintenance.desired import Desired
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.errors import Gone, StaleVersion
from tests.topology.conftest import cell_spec

ME = "operator"
RULES = {"rules": [{"id": "all", "action": "proxy", "on_cell_down": 503}]}


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
