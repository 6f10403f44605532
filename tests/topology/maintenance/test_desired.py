"""A topology is brought to what files say, or nothing is done."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from control_plane.topology import Topology
from control_plane.topology.maintenance.desired import Desired
from control_plane.topology.values.cell import CellState, SequenceRange
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.errors import NotFound, Refused, StaleVersion
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


def test_cells_that_no_file_names_go_only_if_so_wished_and_first(two: Topology) -> None:
    two.cells.set_state("cell-2", CellState.DRAINING, actor=ME)
    two.cells.set_state("cell-2", CellState.DRAINED, actor=ME)
    two.cells.set_state("cell-2", CellState.RETIRED, actor=ME)
    successor = replace(cell_spec(3), address=cell_spec(2).address, session_prefix="cell-2")
    desired = Desired([cell_spec(1), successor], prune=True)
    done = two.desired.apply(desired, base=two.revision(), actor=ME)
    assert [(c.action, c.key) for c in done.changes] == [("delete", "cell-2"), ("create", "cell-3")]
    two.desired.apply(Desired([]), base=two.revision(), actor=ME)
    assert [cell.name for cell in two.cells.all()] == ["cell-1", "cell-3"]


def test_a_cell_keeps_the_ids_that_it_was_allotted(two: Topology) -> None:
    allotted = replace(two.cells.get("cell-1").spec(), sequence_ranges=(SequenceRange(1, 1000),))
    two.cells.replace("cell-1", allotted, actor=ME)
    with pytest.raises(Refused, match=r"taking 1\.\.1000 from cell-1"):
        two.desired.apply(Desired([cell_spec(1)]), base=two.revision(), actor=ME)


def test_the_active_ruleset_must_exist(two: Topology) -> None:
    with pytest.raises(NotFound):
        two.desired.apply(Desired([], active="r"), base=two.revision(), actor=ME)


def test_a_ruleset_without_a_document_is_activated_in_its_newest_version(two: Topology) -> None:
    two.rulesets.put("r", json.dumps({"rules": []}), actor=ME)
    two.rulesets.put("r", json.dumps(RULES), actor=ME)
    done = two.desired.apply(Desired([], active="r"), base=two.revision(), actor=ME)
    assert [(c.action, c.key) for c in done.changes] == [("activate", "r@2")]
