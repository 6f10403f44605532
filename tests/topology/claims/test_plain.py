"""Plain claims: all or nothing, one owner for each value, pages in the order of keys."""

from __future__ import annotations

import pytest

from control_plane.topology import Subject, Topology
from control_plane.topology.values.claim import ClaimSpec, RecordSpec
from control_plane.topology.values.errors import (
    AlreadyExists,
    Invalid,
    NotFound,
    Refused,
)

ME = "tester"
WHY = "the data centre burnt down"


def test_a_batch_of_claims_is_all_or_nothing(two: Topology) -> None:
    two.claims.claim(
        [ClaimSpec("route", "b", "cell-2"), ClaimSpec("username", "b", "cell-2")], actor=ME
    )
    batch = [ClaimSpec("route", name, "cell-1") for name in ("a", "B", "c")]
    with pytest.raises(AlreadyExists) as caught:
        two.claims.claim([*batch, ClaimSpec("username", "b", "cell-1")], actor=ME)
    assert set(caught.value.taken) == {("route:b", "cell-2"), ("username:b", "cell-2")}
    assert two.claims.owners_of([("route", "a"), ("route", "b"), ("route", "c")]) == [None, 2, None]
    assert two.revision() == 3


@pytest.mark.parametrize(
    ("claims", "error"),
    [
        ([], Invalid),
        ([ClaimSpec("route", "x", "nowhere")], NotFound),
        ([ClaimSpec("route", "", "cell-1")], Invalid),
        ([ClaimSpec("route", "x" * 2000, "cell-1")], Invalid),
        ([ClaimSpec("Route", "x", "cell-1")], Invalid),
        ([ClaimSpec("project_id", "x", "cell-1")], Invalid),
        ([ClaimSpec("route", "x", "cell-1"), ClaimSpec("route", "X/", "cell-1")], Invalid),
        ([ClaimSpec("route", f"r{i}", "cell-1") for i in range(1001)], Invalid),
    ],
)
def test_bad_claims_leave_nothing(
    two: Topology, claims: list[ClaimSpec], error: type[Exception]
) -> None:
    with pytest.raises(error):
        two.claims.claim(claims, actor=ME)
    assert two.claims.count() == {}
    assert two.revision() == 2


def test_release_is_all_or_nothing_and_guards_the_owner(two: Topology) -> None:
    two.claims.claim(
        [ClaimSpec("route", "a", "cell-1"), ClaimSpec("route", "b", "cell-2")], actor=ME
    )
    with pytest.raises(NotFound):
        two.claims.release([("route", "a"), ("route", "zzz")], actor=ME)
    with pytest.raises(Refused, match="cell-2 owns it"):
        two.claims.release([("route", "a"), ("route", "b")], cell="cell-1", actor=ME)
    assert two.claims.count() == {"route": 2}
    two.claims.release([("route", "A"), ("route", "b")], actor=ME)
    assert two.claims.count() == {}


def test_claims_are_paged_in_key_order(two: Topology) -> None:
    names = sorted(f"r{i:03}" for i in range(25))
    two.claims.claim([ClaimSpec("route", name, "cell-1") for name in names], actor=ME)
    two.claims.claim([ClaimSpec("username", "u", "cell-2")], actor=ME)
    seen: list[str] = []
    after = None
    while page := two.claims.page(bucket="route", after=after, limit=10):
        seen += [claim.value for claim in page]
        after = (page[-1].bucket, page[-1].value)
    assert seen == names
    assert [c.value for c in two.claims.page(cell="cell-2")] == ["u"]
    assert len(two.claims.page(prefix="r01")) == 10


def own(topology: Topology, cell: int, *specs: RecordSpec) -> str:
    lease = topology.leases.begin(cell, specs, [], actor=f"cell-{cell}").value.uuid
    topology.leases.commit(cell, lease, actor=f"cell-{cell}")
    return lease


def project(number: int, *names: str) -> list[RecordSpec]:
    return [RecordSpec("route", name, 3, number) for name in names]


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
