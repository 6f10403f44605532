"""The bugs of Vitess' cutover (operators.md §1.3), each as a test of ours."""

from __future__ import annotations

from datetime import timedelta

import pytest

from control_plane.topology import Topology
from control_plane.topology.values.errors import Locked, Refused
from control_plane.topology.values.move import MoveState
from tests.topology.claims.moves.steps import (
    claim,
    frozen,
    in_force,
    owners,
    plan,
    step,
    switched,
    verified,
)
from tests.topology.claims.steps import begin, route


@pytest.fixture(autouse=True)
def tenants(two: Topology) -> None:
    claim(two, "acme", "a", "b")
    claim(two, "other", "y", "z")


OTHER = {"subject": {"type": 0, "id": 0, "text": "other"}}


def test_17326_a_rollback_leaves_no_claim_that_both_cells_refuse(two: Topology) -> None:
    """A crash amid a reversal left routing at the target, which denied writes."""
    move = in_force(two, switched(two))
    # A dry run does everything and is thrown away, as a crash before the commit is.
    step(two, move, "rollback", dry_run=True)
    assert owners(two, "a", "b") == [2, 2]
    assert two.snapshot().holds == ()
    step(two, move, "rollback")
    assert owners(two, "a", "b") == [1, 1]
    assert two.snapshot().holds == ()


def test_17620_a_rollback_needs_nothing_that_the_failed_step_held(two: Topology) -> None:
    """Cancel always failed, because it had lost the lock that the switch had taken."""
    move = verified(two, frozen(two))
    lease = begin(two, [], [route("a")])
    with pytest.raises(Locked):
        step(two, move, "switch")
    assert step(two, move, "rollback").state is MoveState.ROLLED_BACK
    two.leases.roll_back(1, lease, actor="cell-1")
    assert owners(two, "a", "b", "y", "z") == [1, 1, 1, 1]


def test_17794_one_tenants_failed_switch_refuses_nothing_of_another(two: Topology) -> None:
    """The deny rule of one tenant's failed switch was put on all tenants."""
    mine, theirs = frozen(two), frozen(two, selection=OTHER)
    lease = begin(two, [], [route("a")])
    verified(two, mine)
    with pytest.raises(Locked):
        step(two, mine, "switch")
    step(two, mine, "rollback")
    two.leases.roll_back(1, lease, actor="cell-1")
    assert owners(two, "a", "b", "y", "z") == [1, 1, -theirs.number, -theirs.number]
    verified(two, theirs)
    step(two, theirs, "switch")
    assert owners(two, "a", "b", "y", "z") == [1, 1, 2, 2]


def test_16563_what_was_verified_before_writes_had_stopped_does_not_count(two: Topology) -> None:
    """The position was recorded before writes had really stopped."""
    move = verified(two, step(two, plan(two), "preflight"))
    step(two, move, "freeze")
    with pytest.raises(Refused, match="not known to be in force"):
        step(two, move, "switch")
    verified(two, move)
    in_force(two, move)
    with pytest.raises(Refused, match="verified before the freeze was in force"):
        step(two, move, "switch")
    verified(two, move)
    assert step(two, move, "switch").state is MoveState.SWITCHED


def test_16794_no_switch_while_the_way_back_is_closed(two: Topology) -> None:
    """A switch was allowed although the reverse path could not be used."""
    move = verified(two, frozen(two), back=False)
    with pytest.raises(Refused, match="the way back is not verified"):
        step(two, move, "switch")
    verified(two, move, forth=False)
    two.cells.set_health("cell-1", healthy=False, actor="health")
    with pytest.raises(Refused, match="the way back is closed"):
        step(two, move, "switch")
    two.cells.set_health("cell-1", healthy=True, actor="health")
    assert step(two, move, "switch").state is MoveState.SWITCHED


@pytest.mark.parametrize("end", ["rollback", "switch"])
def test_13999_nothing_of_an_older_move_is_left_to_break_the_next(two: Topology, end: str) -> None:
    """Deny rules that an older workflow had left over broke the next one."""
    move = verified(two, frozen(two))
    step(two, move, end)
    if end == "switch":
        step(two, move, "rollback")
    again = verified(two, frozen(two))
    assert again.number == move.number + 1
    assert step(two, again, "switch").state is MoveState.SWITCHED
    assert owners(two, "a", "b") == [2, 2]


def test_15630_what_is_busy_is_named_and_blocks_nobody_else(two: Topology) -> None:
    """One busy tablet blocked a switch, and nobody could tell which."""
    lease = begin(two, [], [route("a")])
    with pytest.raises(Locked, match=f"route:a \\(lease: {lease}\\)"):
        plan(two)
    assert plan(two, OTHER).state is MoveState.PLANNED


def test_20924_the_stored_state_decides_and_not_what_a_caller_remembers(two: Topology) -> None:
    """The state was inferred from stale snapshots of cells."""
    planned = plan(two)
    step(two, planned, "preflight")
    with pytest.raises(Refused, match="it is preflight, not frozen"):
        step(two, planned, "switch")
    in_force(two, step(two, planned, "freeze"))
    with pytest.raises(Refused, match="it is frozen, not"):
        step(two, planned, "preflight")


def test_a_verification_goes_stale(two: Topology) -> None:
    move = verified(two, frozen(two, verification_max_age=timedelta(0)))
    with pytest.raises(Refused, match="was verified more than 0 s ago"):
        step(two, move, "switch")
    assert move.facts["back_verified_at"] >= move.facts["in_force_at"]
