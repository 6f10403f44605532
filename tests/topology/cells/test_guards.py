"""A cell is not taken away from its tenants, unless an operator says why."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from control_plane.topology import Topology
from control_plane.topology.cells import guards
from control_plane.topology.cells.fleet_reports import FleetReport
from control_plane.topology.values.cell import TRANSITIONS, Cell, CellState
from control_plane.topology.values.claim import ClaimSpec, RecordSpec
from control_plane.topology.values.errors import EdgesBehind, Invalid, Refused
from tests.topology.conftest import cell_spec

ME = "tester"
STATES = tuple(CellState)


def step(topology: Topology, state: CellState, name: str = "cell-1") -> Cell:
    return topology.cells.set_state(name, state, actor=ME).value


def emptied(topology: Topology) -> Cell:
    step(topology, CellState.DRAINING)
    return step(topology, CellState.DRAINED)


def test_a_cell_that_owns_claims_is_not_drained_and_the_tenants_are_named(two: Topology) -> None:
    tenants = [("a", "acme"), ("b", "acme"), ("c", "umbrella"), ("d", None)]
    claims = [ClaimSpec("route", name, "cell-1", subject) for name, subject in tenants]
    two.claims.claim(claims, actor=ME)
    step(two, CellState.DRAINING)
    with pytest.raises(Refused) as caught:
        step(two, CellState.DRAINED)
    assert "it owns 4 claims, of acme (2), umbrella (1), 1 without a subject" in str(caught.value)
    assert "move them" in str(caught.value)
    assert two.cells.get("cell-1").serving
    two.claims.release([("route", name) for name in "abcd"], actor=ME)
    assert step(two, CellState.DRAINED).state is CellState.DRAINED


def test_many_claims_are_not_counted_one_by_one(
    two: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "COUNTED", 3)
    two.claims.claim([ClaimSpec("route", name, "cell-1") for name in "abcd"], actor=ME)
    step(two, CellState.DRAINING)
    with pytest.raises(Refused, match="owns more than 3 claims"):
        step(two, CellState.DRAINED)


def test_no_step_of_any_state_leads_past_the_guards(two: Topology) -> None:
    """Whatever the steps are, without force nothing that owns claims stops being served."""
    two.claims.claim([ClaimSpec("route", "a", "cell-1")], actor=ME)
    for old, new in itertools.product(STATES, STATES):
        if not old.may_own:
            continue
        two.cells.set_state("cell-1", old, actor=ME, force=True, reason="test")
        if new.may_own or new not in TRANSITIONS[old]:
            continue
        with pytest.raises(Refused, match="owns 1 claims"):
            step(two, new)


def test_a_cell_with_open_leases_is_not_retired(two: Topology) -> None:
    two.claims.claim([ClaimSpec("route", "a", "cell-1")], actor=ME)
    lease = two.leases.begin(1, [RecordSpec("route", "b")], [], actor=ME).value.uuid
    step(two, CellState.DRAINING)
    two.cells.set_state("cell-1", CellState.DRAINED, actor=ME, force=True, reason="it burns")
    two.claims.release([("route", "a")], actor=ME)
    with pytest.raises(Refused, match="owns 1 claims"):
        step(two, CellState.RETIRED)
    two.open_leases.settle(lease, "rolled back", reason="it burns", actor=ME)
    assert step(two, CellState.RETIRED).retired


def test_an_open_lease_without_claims_keeps_a_cell_too(two: Topology) -> None:
    claim = RecordSpec("route", "a")
    two.leases.commit(1, two.leases.begin(1, [claim], [], actor=ME).value.uuid, actor=ME)
    lease = two.leases.begin(1, [], [claim], actor=ME).value.uuid
    step(two, CellState.DRAINING)
    two.cells.set_state("cell-1", CellState.DRAINED, actor=ME, force=True, reason="test")
    two.leases.commit(1, lease, actor=ME)
    step(two, CellState.RETIRED)


def test_a_cell_is_retired_when_every_envoy_knows_that_it_is_drained(two: Topology) -> None:
    drained = emptied(two)
    report = FleetReport("cp-1", drained.version, drained.version - 1, 2, lagging=("edge-7",))
    two.fleet_reports.note("one", report)
    with pytest.raises(EdgesBehind, match="edge-7"):
        step(two, CellState.RETIRED)
    two.fleet_reports.note("one", replace(report, acked=drained.version, lagging=()))
    assert step(two, CellState.RETIRED).retired


def test_force_needs_a_reason_and_the_audit_says_what_was_overridden(two: Topology) -> None:
    two.claims.claim([ClaimSpec("route", "a", "cell-1")], actor=ME)
    for reason in (None, " ", "x" * 2000):
        with pytest.raises(Invalid, match="reason"):
            two.cells.set_state("cell-1", CellState.RETIRED, actor=ME, force=True, reason=reason)
    two.cells.set_state("cell-1", CellState.RETIRED, actor=ME, force=True, reason="it burns")
    entry = two.changes.newest(kind="cell")[0][0]
    assert entry.actor == ME
    assert entry.after is not None
    assert entry.after["reason"] == "it burns"
    assert "from active a cell goes to" in entry.after["forced"]


def test_a_reason_is_kept_without_force_too(two: Topology) -> None:
    two.cells.set_state("cell-1", CellState.CORDONED, actor=ME, reason="new hardware")
    entry = two.changes.newest(kind="cell")[0][0]
    assert entry.after is not None
    assert (entry.after["reason"], "forced" in entry.after) == ("new hardware", False)


@pytest.mark.parametrize("state", STATES)
def test_only_canary_and_active_cells_are_given_claims(two: Topology, state: CellState) -> None:
    two.cells.create(replace(cell_spec(3), state=state), actor=ME)
    three = ClaimSpec("route", "new", "cell-3")
    two.claims.claim([ClaimSpec("route", "old", "cell-2", "acme")], actor=ME)
    if state in {CellState.CANARY, CellState.ACTIVE}:
        two.claims.claim([three], actor=ME)
        return
    with pytest.raises(Refused, match=f"it is {state}"):
        two.claims.claim([three], actor=ME)


@pytest.mark.parametrize("state", STATES)
def test_a_cell_claims_for_its_own_tenants_until_it_has_none(
    two: Topology, state: CellState
) -> None:
    """A cordoned cell's tenants go on making projects: their names are claimed under leases."""
    two.cells.create(replace(cell_spec(3), state=state), actor=ME)
    if state in {CellState.DRAINED, CellState.RETIRED}:
        with pytest.raises(Refused, match=f"it is {state}"):
            two.leases.begin(3, [RecordSpec("route", "new")], [], actor=ME)
        return
    lease = two.leases.begin(3, [RecordSpec("route", "new")], [], actor=ME).value
    two.leases.commit(3, lease.uuid, actor=ME)
    assert two.claims.owners_of((("route", "new"),)) == [3]
