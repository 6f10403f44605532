"""Plain claims: all or nothing, one owner for each value, pages in the order of keys."""

from __future__ import annotations

import pytest

from control_plane.topology import Topology
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.errors import (
    AlreadyExists,
    Invalid,
    NotFound,
    Refused,
)

ME = "tester"


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
