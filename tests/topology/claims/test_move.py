"""What operators do for cells that can't: settle, transfer, empty, audit."""

from __future__ import annotations

import pytest

from control_plane.topology.claims import move
from control_plane.topology.claims.move import Subject
from control_plane.topology.service import Topology
from control_plane.topology.values.cell import CellState
from control_plane.topology.values.claim import ClaimSpec, RecordSpec
from control_plane.topology.values.errors import Invalid, LeaseSettled, Locked, NotFound, Refused

ME = "operator"
WHY = "the data centre burnt down"


def own(topology: Topology, cell: int, *specs: RecordSpec) -> str:
    lease = topology.begin_update(cell, specs, [], actor=f"cell-{cell}").value.uuid
    topology.commit_update(cell, lease, actor=f"cell-{cell}")
    return lease


def project(number: int, *names: str) -> list[RecordSpec]:
    return [RecordSpec("route", name, 3, number) for name in names]


def test_a_dead_cells_leases_are_settled_either_way(two: Topology) -> None:
    own(two, 1, *project(1, "old"))
    lost = [
        two.begin_update(1, project(n, f"r{n}"), [], actor="c").value.uuid for n in range(1, 251)
    ]
    two.begin_update(1, [], project(1, "old"), actor="c")
    alive = two.begin_update(2, project(9, "alive"), [], actor="c").value.uuid
    assert two.settle_leases("cell-1", "rolled back", reason=WHY, actor=ME) == 251
    assert two.owners([("route", "r1"), ("route", "old"), ("route", "alive")]) == [None, 1, 2]
    assert [lease.uuid for lease in two.leases()] == [alive]
    assert two.settle_leases("cell-1", "rolled back", reason=WHY, actor=ME) == 0
    with pytest.raises(LeaseSettled):
        two.commit_update(1, lost[0], actor="it lives")
    assert two.settle_leases("cell-2", "committed", reason=WHY, actor=ME) == 1
    assert two.record("route", "alive").status == "active"
    assert two.changes(two.revision() - 1)[0].after == {
        "cell_id": 2,
        "state": "committed",
        "reason": WHY,
    }


def test_settling_needs_a_reason_and_a_cell(two: Topology) -> None:
    with pytest.raises(Invalid):
        two.settle_leases("cell-1", "committed", reason=" ", actor=ME)
    with pytest.raises(NotFound):
        two.settle_leases("nowhere", "committed", reason=WHY, actor=ME)


def test_a_subjects_claims_move_in_one_step(two: Topology) -> None:
    own(two, 1, *project(7, "a", "b"), RecordSpec("project_id", "7", 3, 7), *project(8, "other"))
    own(two, 2, *project(7, "theirs"))
    told = two.transfer(Subject(3, 7), "cell-1", "cell-2", reason=WHY, actor=ME, dry_run=True)
    assert (told.value, told.revision) == (3, two.revision())
    assert two.owners([("route", "a")]) == [1]
    done = two.transfer(Subject(3, 7), "cell-1", "cell-2", reason=WHY, actor=ME)
    assert (done.value, done.revision) == (3, two.revision())
    keys = [("route", "a"), ("route", "b"), ("project_id", "7"), ("route", "other")]
    assert two.owners(keys) == [2, 2, 2, 1]
    assert two.claim_get("route", "a").revision == done.revision
    assert {(c.action, c.after["cell"]) for c in done.changes} == {("move", "cell-2")}
    two.transfer(Subject(3, 7), "cell-2", "cell-1", reason="and back", actor=ME)
    assert two.owners([*keys[:3], ("route", "theirs")]) == [1, 1, 1, 1]


def test_plain_claims_move_by_the_text_of_their_subject(two: Topology) -> None:
    two.claim([ClaimSpec("route", n, "cell-1", subject="org-1") for n in ("a", "b")], actor=ME)
    two.claim([ClaimSpec("route", "c", "cell-1", subject="org-2")], actor=ME)
    assert two.transfer(Subject(text="org-1"), "cell-1", "cell-2", reason=WHY, actor=ME).value == 2
    assert two.owners([("route", n) for n in "abc"]) == [2, 2, 1]


def test_what_cannot_move_stays(two: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    own(two, 1, *project(7, "a", "b"))
    with pytest.raises(NotFound):
        two.transfer(Subject(3, 99), "cell-1", "cell-2", reason=WHY, actor=ME)
    with pytest.raises(NotFound):
        two.transfer(Subject(3, 7), "cell-1", "nowhere", reason=WHY, actor=ME)
    with pytest.raises(Refused):
        two.transfer(Subject(3, 7), "cell-1", "cell-1", reason=WHY, actor=ME)
    for wrong in (Subject(3, 0), Subject(), Subject(3, 7, "both")):
        with pytest.raises(Invalid):
            two.transfer(wrong, "cell-1", "cell-2", reason=WHY, actor=ME)
    monkeypatch.setattr(move, "MAX_TRANSFER", 1)
    with pytest.raises(Refused, match="more than 1"):
        two.transfer(Subject(3, 7), "cell-1", "cell-2", reason=WHY, actor=ME)
    monkeypatch.undo()
    lease = two.begin_update(1, [], project(7, "b"), actor="c").value.uuid
    with pytest.raises(Locked) as caught:
        two.transfer(Subject(3, 7), "cell-1", "cell-2", reason=WHY, actor=ME)
    assert caught.value.held == (("route:b", lease),)
    two.rollback_update(1, lease, actor="c")
    two.set_cell_state("cell-2", CellState.RETIRED, actor=ME, force=True)
    with pytest.raises(Refused, match="retired"):
        two.transfer(Subject(3, 7), "cell-1", "cell-2", reason=WHY, actor=ME)
    assert two.owners([("route", "a"), ("route", "b")]) == [1, 1]


def test_a_retired_cell_is_emptied_in_bounded_batches(
    two: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    own(two, 1, *project(7, *(f"r{n}" for n in range(25))))
    own(two, 2, *project(8, "stays"))
    with pytest.raises(Refused, match="retire it first"):
        two.release_cell("cell-1", reason=WHY, actor=ME)
    lease = two.begin_update(1, project(9, "open"), [], actor="c").value.uuid
    two.set_cell_state("cell-1", CellState.RETIRED, actor=ME, force=True)
    with pytest.raises(Refused, match="settle them first"):
        two.release_cell("cell-1", reason=WHY, actor=ME)
    two.settle_leases("cell-1", "committed", reason=WHY, actor=ME)
    with pytest.raises(LeaseSettled):
        two.rollback_update(1, lease, actor="c")
    monkeypatch.setattr(move, "RELEASE_BATCH", 10)
    before = two.revision()
    assert two.release_cell("cell-1", reason=WHY, actor=ME) == 26
    assert two.revision() == before + 3, "three transactions"
    assert two.count_claims() == {"route": 1}
    two.delete_cell("cell-1", actor=ME)


def test_the_audit_says_who_did_what_and_what_came_of_it(two: Topology) -> None:
    made = own(two, 1, *project(7, "Name"))
    own(two, 1, *project(8, "unrelated"))
    undone = two.begin_update(1, [], project(7, "name"), actor="cell-1").value.uuid
    two.rollback_update(1, undone, actor="cell-1", reason="changed their mind")
    two.transfer(Subject(3, 7), "cell-1", "cell-2", reason=WHY, actor=ME)
    gone = two.begin_update(2, [], project(7, "name"), actor="cell-2").value.uuid
    two.commit_update(2, gone, actor="cell-2")
    told = [(c.kind, c.action, c.key, c.actor) for c in two.audit("route", "NAME/")]
    assert [one for one in told if one[0] == "claim"] == [
        ("claim", "create", "route:name", "cell-1"),
        ("claim", "destroy", "route:name", "cell-1"),
        ("claim", "move", "route:name", ME),
        ("claim", "destroy", "route:name", "cell-2"),
        ("claim", "delete", "route:name", "cell-2"),
    ]
    assert [one[1:3] for one in told if one[0] == "lease"] == [
        ("begin", made),
        ("commit", made),
        ("begin", undone),
        ("rollback", undone),
        ("begin", gone),
        ("commit", gone),
    ]
    assert two.audit("route", "never") == []
    newest = [(c.kind, c.action) for c in two.audit("route", "name", limit=1)]
    assert newest == [("lease", "begin"), ("lease", "commit"), ("claim", "delete")]
