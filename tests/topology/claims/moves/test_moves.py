"""A move's steps: what each changes, and what it leaves alone."""

from __future__ import annotations

from datetime import timedelta

import pytest

from control_plane.topology import Subject, Topology
from control_plane.topology.values.claim_key import ClaimKey
from control_plane.topology.values.errors import (
    Invalid,
    Locked,
    NotFound,
    Refused,
    StaleVersion,
)
from control_plane.topology.values.hold import Freeze, Hold, PreviewUser, Selector
from control_plane.topology.values.move import MovePlan, MoveState, MoveStep
from tests.topology.claims.moves.steps import (
    ACME,
    ME,
    WHY,
    claim,
    frozen,
    in_force,
    owners,
    plan,
    step,
    switched,
    verified,
)
from tests.topology.claims.steps import begin, own_records, project, route


@pytest.fixture(autouse=True)
def tenants(two: Topology) -> None:
    claim(two, "acme", "a", "b")
    claim(two, "other", "z")


def test_a_move_takes_all_claims_of_a_subject_under_one_revision(two: Topology) -> None:
    move = frozen(two)
    assert owners(two, "a", "b", "z") == [-move.number, -move.number, 1]
    assert two.snapshot().holds == (Hold(move.number, 1, 2, Freeze(), ()),)
    verified(two, move)
    before = two.snapshot()
    done = two.tenant_moves.step(move.number, MoveStep.SWITCH, actor=ME)
    assert done.value.state is MoveState.SWITCHED
    assert owners(two, "a", "b", "z") == [2, 2, 1]
    after = two.snapshot()
    assert after.holds == ()
    assert {two.claims.get("route", name).revision for name in "ab"} == {done.revision}
    raised = {shard for shard, epoch in after.epochs.items() if epoch == done.revision}
    assert raised == {change.shard for change in _keys("a", "b")}
    assert after.answers_revision == before.answers_revision, "others' answers stay"
    moved = [change.key for change in done.changes if change.kind == "claim"]
    assert sorted(moved) == ["route:a", "route:b"]


def _keys(*names: str) -> list[ClaimKey]:
    return [ClaimKey("route", name) for name in names]


def test_watching_begins_when_the_fleet_runs_the_switch_and_completed_ends_it(
    two: Topology,
) -> None:
    move = switched(two)
    with pytest.raises(Refused, match="it is switched, not watching"):
        step(two, move, "complete")
    assert in_force(two, move).state is MoveState.WATCHING
    assert step(two, move, "complete").state is MoveState.COMPLETED
    with pytest.raises(Refused, match="it is completed already"):
        step(two, move, "rollback")
    assert plan(two, {"claims": [["route", "z"]]}).number == move.number + 1


@pytest.mark.parametrize("state", ["planned", "preflight", "frozen", "switched", "watching"])
def test_a_move_is_rolled_back_from_every_state(two: Topology, state: str) -> None:
    before = owners(two, "a", "b", "z")
    match state:
        case "planned":
            move = plan(two)
        case "preflight":
            move = step(two, plan(two), "preflight")
        case "frozen":
            move = frozen(two)
        case "switched":
            move = switched(two)
        case _:
            move = in_force(two, switched(two))
    assert move.state == state
    back = step(two, move, "rollback", why="it was wrong")
    assert back.state is MoveState.ROLLED_BACK
    assert owners(two, "a", "b", "z") == before
    assert two.snapshot().holds == ()
    assert plan(two).state is MoveState.PLANNED, "its claims are free for another move"


def test_a_step_that_was_done_changes_nothing(two: Topology) -> None:
    move = frozen(two)
    revision = two.revision()
    assert step(two, move, "freeze").version == move.version
    verified(two, move)
    step(two, move, "switch")
    switched_at = two.revision()
    step(two, move, "switch")
    step(two, move, "rollback")
    step(two, move, "rollback")
    assert (revision + 1, switched_at + 1) == (switched_at - 1, two.revision())


def test_of_two_operators_one_gets_a_conflict(two: Topology) -> None:
    move = step(two, plan(two), "preflight")
    with pytest.raises(Refused, match=f"move {move.number} has it already"):
        plan(two, {"claims": [["route", "a"]]})
    step(two, move, "freeze", expected_version=move.version)
    with pytest.raises(StaleVersion):
        step(two, move, "rollback", expected_version=move.version)


def test_what_a_move_holds_is_not_to_be_had(two: Topology) -> None:
    move = frozen(two)
    with pytest.raises(Refused, match=f"move {move.number} holds"):
        two.claims.release([("route", "a")], actor=ME)
    with pytest.raises(Refused, match=f"move {move.number} holds"):
        two.moves.move(Subject(text="acme"), "cell-1", "cell-2", reason=WHY, actor=ME)


def test_a_claim_under_a_lease_keeps_its_move_from_freezing_and_from_switching(
    two: Topology,
) -> None:
    move = step(two, plan(two), "preflight")
    lease = begin(two, [], [route("a")])
    with pytest.raises(Locked):
        step(two, move, "freeze")
    two.leases.roll_back(1, lease, actor=ME)
    in_force(two, step(two, move, "freeze"))
    verified(two, move)
    lease = begin(two, [], [route("a")])
    with pytest.raises(Locked):
        step(two, move, "switch")
    assert step(two, move, "rollback").state is MoveState.ROLLED_BACK, "letting go needs no lease"
    assert owners(two, "a", "b") == [1, 1]


def test_claims_that_the_subject_got_while_frozen_go_along(two: Topology) -> None:
    move = frozen(two)
    claim(two, "acme", "late")
    verified(two, move)
    assert step(two, move, "switch").claims == 3
    assert owners(two, "late") == [2]
    step(two, move, "rollback")
    assert owners(two, "late") == [1]


def test_a_claim_that_its_cell_gave_to_another_subject_while_frozen_stays(two: Topology) -> None:
    own_records(two, 1, *project(7, "p", "q"))
    subject = {"subject": {"type": 3, "id": 7, "text": None}}
    move = frozen(two, selection=subject)
    lease = two.leases.begin(1, project(8, "p"), project(7, "p"), actor="cell-1").value.uuid
    two.leases.commit(1, lease, actor="cell-1")
    verified(two, move)
    assert step(two, move, "switch").claims == 1
    assert owners(two, "p", "q") == [1, 2]


def test_a_batch_takes_whole_subjects_that_no_move_has(two: Topology) -> None:
    claim(two, "big", "big-1", "big-2", "big-3")
    claim(two, None, "lone")
    first = plan(two, {"cell": 1})
    assert first.claims == 2, "a, and all of acme"
    second = plan(two, {"cell": 1})
    assert second.claims == 3, "big-1, and all of big"
    assert plan(two, {"cell": 5}).claims == 2
    with pytest.raises(NotFound):
        plan(two, {"cell": 5})


def test_a_rehearsal_holds_claims_for_test_users(two: Topology) -> None:
    with pytest.raises(Refused, match="names no test users"):
        step(two, step(two, plan(two), "preflight"), "rehearse")
    step(two, two.tenant_moves.get(1), "rollback")
    testers = (PreviewUser("cookie", "tester", "yes"),)
    move = step(two, plan(two, testers=testers), "preflight")
    step(two, move, "rehearse")
    assert two.snapshot().holds == (Hold(move.number, 1, 2, None, testers),)
    freeze = Freeze((Selector(("POST",)),), (Selector(path="^/login"),))
    assert freeze == Freeze.of(freeze.as_dict())
    assert step(two, move, "freeze").state is MoveState.FROZEN


def test_cells_that_can_not_take_or_take_back_refuse_a_preflight(two: Topology) -> None:
    move = plan(two)
    two.cells.set_health("cell-2", healthy=False, actor=ME)
    with pytest.raises(Refused, match="cell-2 is active and down, and serves nothing"):
        step(two, move, "preflight")
    two.cells.set_health("cell-2", healthy=True, actor=ME)
    two.cells.set_health("cell-1", healthy=False, actor=ME)
    with pytest.raises(Refused, match="the way back is closed: cell-1 is active and down"):
        step(two, move, "preflight")
    step(two, move, "rollback")
    assert step(two, plan(two, one_way=True), "preflight").state is MoveState.PREFLIGHT


@pytest.mark.parametrize(
    "wrong",
    [
        MovePlan("cell-1", "cell-1", WHY, ACME),
        MovePlan("cell-1", "cell-2", " ", ACME),
        MovePlan("cell-1", "nowhere", WHY, ACME),
        MovePlan("cell-2", "cell-1", WHY, ACME),
        MovePlan("cell-1", "cell-2", WHY, {"claims": [["route", "none"]]}),
    ],
)
def test_a_plan_that_can_not_be_is_refused(two: Topology, wrong: MovePlan) -> None:
    before = two.revision()
    with pytest.raises((Invalid, NotFound, Refused)):
        two.tenant_moves.plan(wrong, actor=ME)
    assert two.revision() == before
    assert two.tenant_moves.page() == []


def test_a_frozen_move_is_rolled_back_when_its_time_is_over(two: Topology) -> None:
    move = frozen(two, freeze_for=timedelta(0))
    assert two.tenant_moves.expire() == [move.number]
    assert owners(two, "a", "b") == [1, 1]
    assert two.tenant_moves.get(move.number).events[-1]["why"].startswith("it was frozen until")
    assert two.tenant_moves.expire() == []
    kept = switched(two, freeze_for=timedelta(hours=1))
    assert two.tenant_moves.expire() == []
    assert two.tenant_moves.get(kept.number).state is MoveState.SWITCHED


def test_claims_without_a_subject_can_be_given_one(two: Topology) -> None:
    claim(two, None, "x", "y")
    keys = [("route", "X"), ("route", "y")]
    named = two.claims.set_subject(keys, "acme", actor=ME)
    assert {one.subject for one in named.value} == {"acme"}
    assert plan(two).claims == 4
    again = two.claims.set_subject(keys, "acme", actor=ME)
    assert again.changes == ()
    with pytest.raises(Refused, match="its subject is 'other'"):
        two.claims.set_subject([("route", "z")], "acme", actor=ME)
