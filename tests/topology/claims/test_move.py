"""What operators do for cells that can't: settle, transfer, empty, audit."""

from __future__ import annotations

import pytest

from control_plane.topology import Subject, Topology
from control_plane.topology.claims import move, release
from control_plane.topology.values.cell import CellState
from control_plane.topology.values.claim import ClaimSpec, RecordSpec
from control_plane.topology.values.errors import Invalid, LeaseSettled, Locked, NotFound, Refused

ME = "operator"
WHY = "the data centre burnt down"


def own(topology: Topology, cell: int, *specs: RecordSpec) -> str:
    lease = topology.leases.begin(cell, specs, [], actor=f"cell-{cell}").value.uuid
    topology.leases.commit(cell, lease, actor=f"cell-{cell}")
    return lease


def project(number: int, *names: str) -> list[RecordSpec]:
    return [RecordSpec("route", name, 3, number) for name in names]


def test_a_dead_cells_leases_are_settled_either_way(two: Topology) -> None:
    own(two, 1, *project(1, "old"))
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


def test_a_subjects_claims_move_in_one_step(two: Topology) -> None:
    own(two, 1, *project(7, "a", "b"), RecordSpec("project_id", "7", 3, 7), *project(8, "other"))
    own(two, 2, *project(7, "theirs"))
    told = two.moves.move(Subject(3, 7), "cell-1", "cell-2", reason=WHY, actor=ME, dry_run=True)
    assert (told.value, told.revision) == (3, two.revision())
    assert two.claims.owners_of([("route", "a")]) == [1]
    done = two.moves.move(Subject(3, 7), "cell-1", "cell-2", reason=WHY, actor=ME)
    assert (done.value, done.revision) == (3, two.revision())
    keys = [("route", "a"), ("route", "b"), ("project_id", "7"), ("route", "other")]
    assert two.claims.owners_of(keys) == [2, 2, 2, 1]
    assert two.claims.get("route", "a").revision == done.revision
    assert {(c.action, c.after["cell"]) for c in done.changes} == {("move", "cell-2")}
    two.moves.move(Subject(3, 7), "cell-2", "cell-1", reason="and back", actor=ME)
    assert two.claims.owners_of([*keys[:3], ("route", "theirs")]) == [1, 1, 1, 1]


def test_plain_claims_move_by_the_text_of_their_subject(two: Topology) -> None:
    two.claims.claim(
        [ClaimSpec("route", n, "cell-1", subject="org-1") for n in ("a", "b")], actor=ME
    )
    two.claims.claim([ClaimSpec("route", "c", "cell-1", subject="org-2")], actor=ME)
    assert (
        two.moves.move(Subject(text="org-1"), "cell-1", "cell-2", reason=WHY, actor=ME).value == 2
    )
    assert two.claims.owners_of([("route", n) for n in "abc"]) == [2, 2, 1]


def test_what_cannot_move_stays(two: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    own(two, 1, *project(7, "a", "b"))
    with pytest.raises(NotFound):
        two.moves.move(Subject(3, 99), "cell-1", "cell-2", reason=WHY, actor=ME)
    with pytest.raises(NotFound):
        two.moves.move(Subject(3, 7), "cell-1", "nowhere", reason=WHY, actor=ME)
    with pytest.raises(Refused):
        two.moves.move(Subject(3, 7), "cell-1", "cell-1", reason=WHY, actor=ME)
    for wrong in (Subject(3, 0), Subject(), Subject(3, 7, "both")):
        with pytest.raises(Invalid):
            two.moves.move(wrong, "cell-1", "cell-2", reason=WHY, actor=ME)
    monkeypatch.setattr(move, "MAX_CLAIMS", 1)
    with pytest.raises(Refused, match="more than 1"):
        two.moves.move(Subject(3, 7), "cell-1", "cell-2", reason=WHY, actor=ME)
    monkeypatch.undo()
    lease = two.leases.begin(1, [], project(7, "b"), actor="c").value.uuid
    with pytest.raises(Locked) as caught:
        two.moves.move(Subject(3, 7), "cell-1", "cell-2", reason=WHY, actor=ME)
    assert caught.value.held == (("route:b", lease),)
    two.leases.roll_back(1, lease, actor="c")
    two.cells.set_state("cell-2", CellState.RETIRED, actor=ME, force=True)
    with pytest.raises(Refused, match="retired"):
        two.moves.move(Subject(3, 7), "cell-1", "cell-2", reason=WHY, actor=ME)
    assert two.claims.owners_of([("route", "a"), ("route", "b")]) == [1, 1]


def test_a_retired_cell_is_emptied_in_bounded_batches(
    two: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    own(two, 1, *project(7, *(f"r{n}" for n in range(25))))
    own(two, 2, *project(8, "stays"))
    with pytest.raises(Refused, match="retire it first"):
        two.releases.release_all("cell-1", reason=WHY, actor=ME)
    lease = two.leases.begin(1, project(9, "open"), [], actor="c").value.uuid
    two.cells.set_state("cell-1", CellState.RETIRED, actor=ME, force=True)
    with pytest.raises(Refused, match="settle them first"):
        two.releases.release_all("cell-1", reason=WHY, actor=ME)
    two.open_leases.settle_all("cell-1", "committed", reason=WHY, actor=ME)
    with pytest.raises(LeaseSettled):
        two.leases.roll_back(1, lease, actor="c")
    monkeypatch.setattr(release, "RELEASE_CLAIMS", 10)
    before = two.revision()
    assert two.releases.release_all("cell-1", reason=WHY, actor=ME) == 26
    assert two.revision() == before + 3, "three transactions"
    assert two.claims.count() == {"route": 1}
    two.cells.remove("cell-1", actor=ME)


def test_the_audit_says_who_did_what_and_what_came_of_it(two: Topology) -> None:
    made = own(two, 1, *project(7, "Name"))
    own(two, 1, *project(8, "unrelated"))
    undone = two.leases.begin(1, [], project(7, "name"), actor="cell-1").value.uuid
    two.leases.roll_back(1, undone, actor="cell-1", reason="changed their mind")
    two.moves.move(Subject(3, 7), "cell-1", "cell-2", reason=WHY, actor=ME)
    gone = two.leases.begin(2, [], project(7, "name"), actor="cell-2").value.uuid
    two.leases.commit(2, gone, actor="cell-2")
    told = [(c.kind, c.action, c.key, c.actor) for c in two.claims.audit("route", "NAME/")]
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
    assert two.claims.audit("route", "never") == []
    newest = [(c.kind, c.action) for c in two.claims.audit("route", "name", limit=1)]
    assert newest == [("lease", "begin"), ("lease", "commit"), ("claim", "delete")]
