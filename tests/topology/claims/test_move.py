"""What operators do for cells that can't: settle, transfer, empty, audit."""

from __future__ import annotations

import pytest

from control_plane.topology import Subject, Topology
from control_plane.topology.claims import move
from control_plane.topology.values.cell import CellState
from control_plane.topology.values.claim import ClaimSpec, RecordSpec
from control_plane.topology.values.errors import Invalid, Locked, NotFound, Refused
from tests.topology.claims.steps import own_records, project

ME = "operator"
WHY = "the data centre burnt down"


def test_a_subjects_claims_move_in_one_step(two: Topology) -> None:
    own_records(
        two, 1, *project(7, "a", "b"), RecordSpec("project_id", "7", 3, 7), *project(8, "other")
    )
    own_records(two, 2, *project(7, "theirs"))
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
    own_records(two, 1, *project(7, "a", "b"))
    with pytest.raises(NotFound):
        two.moves.move(Subject(3, 99), "cell-1", "cell-2", reason=WHY, actor=ME)
    with pytest.raises(NotFound):
        two.moves.move(Subject(3, 7), "cell-1", "nowhere", reason=WHY, actor=ME)
    with pytest.raises(Refused):
        two.moves.move(Subject(3, 7), "cell-1", "cell-1", reason=WHY, actor=ME)
    for wrong in (Subject(3, 0), Subject(), Subject(3, 7, "both")):
        with pytest.raises(Invalid):
            two.moves.move(wrong, "cell-1", "cell-2", reason=WHY, actor=ME)
    monkeypatch.setattr(move, "MAX_MOVED", 1)
    with pytest.raises(Refused, match="more than 1"):
        two.moves.move(Subject(3, 7), "cell-1", "cell-2", reason=WHY, actor=ME)
    monkeypatch.undo()
    lease = two.leases.begin(1, [], project(7, "b"), actor="c").value.uuid
    with pytest.raises(Locked) as caught:
        two.moves.move(Subject(3, 7), "cell-1", "cell-2", reason=WHY, actor=ME)
    assert caught.value.held == (("route:b", lease),)
    two.leases.roll_back(1, lease, actor="c")
    two.cells.set_state("cell-2", CellState.RETIRED, actor=ME, force=True, reason="test")
    with pytest.raises(Refused, match="retired"):
        two.moves.move(Subject(3, 7), "cell-1", "cell-2", reason=WHY, actor=ME)
    assert two.claims.owners_of([("route", "a"), ("route", "b")]) == [1, 1]
