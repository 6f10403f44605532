"""Claims are read in pages, counted, and audited."""

from __future__ import annotations

import pytest

from control_plane.topology import Subject, Topology
from control_plane.topology.values import ClaimSpec, Invalid, NotFound
from tests.topology.claims.steps import own_records, project

ME = "operator"
WHY = "the data centre burnt down"


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


def test_the_audit_says_who_did_what_and_what_came_of_it(two: Topology) -> None:
    made = own_records(two, 1, *project(7, "Name"))
    own_records(two, 1, *project(8, "unrelated"))
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


def test_claims_are_counted_by_bucket_and_by_cell(two: Topology) -> None:
    specs = [("route", "a", "cell-1"), ("route", "b", "cell-2"), ("username", "a", "cell-1")]
    two.claims.claim([ClaimSpec(*spec) for spec in specs], actor=ME)
    assert two.claims.count() == {"route": 2, "username": 1}
    assert [two.claims.count_of(cell) for cell in ("cell-1", "cell-2")] == [2, 1]
    with pytest.raises(NotFound):
        two.claims.count_of("nowhere")


def test_a_claim_is_found_under_any_spelling(two: Topology) -> None:
    two.claims.claim([ClaimSpec("route", "Acme/", "cell-1", "org-1", "routes 1")], actor=ME)
    claim = two.claims.get("route", "ACME")
    assert (claim.value, claim.spelling, claim.cell) == ("acme", "Acme/", "cell-1")
    assert (claim.subject, claim.source, claim.revision) == ("org-1", "routes 1", 3)
    with pytest.raises(NotFound):
        two.claims.get("route", "other")
    with pytest.raises(Invalid):
        two.claims.get("Route", "acme")
