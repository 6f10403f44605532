"""Why a begin could not have all that it names: all of it is listed, and nothing is done."""

from __future__ import annotations

import pytest

from control_plane.topology import Topology
from control_plane.topology.values.claim import ClaimSpec, RecordStatus
from control_plane.topology.values.errors import (
    AlreadyExists,
    Invalid,
    LeaseSettled,
    Locked,
    NotFound,
    Refused,
)
from tests.topology.claims.steps import begin, feed, own, owners, route

ME = "tester"


def test_what_is_taken_is_listed_and_nothing_is_done(two: Topology) -> None:
    own(two, "a", cell=2)
    mine = begin(two, [route("b")])
    revision = two.revision()
    with pytest.raises(AlreadyExists) as caught:
        begin(two, [route("new"), route("a"), route("b")])
    assert set(caught.value.taken) == {("route:a", "cell-2"), ("route:b", "cell-1")}
    assert owners(two, "new") == [None]
    assert two.revision() == revision
    assert [lease.uuid for lease in two.open_leases.page(1)] == [mine]
    assert feed(two, revision) == []


def test_a_value_that_is_being_replaced_does_not_get_free(two: Topology) -> None:
    own(two, "a", "b")
    lease = begin(two, [route("a", subject_id=1)], [route("a"), route("b")])
    with pytest.raises(AlreadyExists) as caught:
        begin(two, [route("a"), route("b")], cell=2)
    assert caught.value.taken == (("route:a", "cell-1"),), "not: try later"
    with pytest.raises(Locked):
        begin(two, [route("b")], cell=2)
    two.leases.commit(1, lease, actor=ME)
    with pytest.raises(AlreadyExists):
        begin(two, [route("a")], cell=2)
    begin(two, [route("b")], cell=2)


def test_what_stays_taken_goes_before_what_may_get_free(two: Topology) -> None:
    own(two, "a")
    own(two, "theirs", cell=2)
    begin(two, [], [route("a")])
    with pytest.raises(AlreadyExists) as caught:
        begin(two, [route("theirs")], [route("a")])
    assert caught.value.taken == (("route:theirs", "cell-2"),)
    begin(two, [], [route("theirs")], cell=2)
    with pytest.raises(Locked) as held:
        begin(two, [route("theirs")], [route("a")])
    assert [key for key, _ in held.value.held] == ["route:a", "route:theirs"], "all of them"


def test_only_what_one_owns_can_be_replaced(two: Topology) -> None:
    own(two, "a", cell=2)
    with pytest.raises(Refused):
        begin(two, [route("a")], [route("a")])
    with pytest.raises(NotFound):
        begin(two, [route("zz")], [route("zz")])


def test_a_leased_claim_is_in_nobody_elses_reach(two: Topology) -> None:
    own(two, "a")
    lease = begin(two, [route("new")], [route("a")])
    for destroyed in ("a", "new"):
        with pytest.raises(Locked) as caught:
            begin(two, [], [route(destroyed)])
        assert caught.value.held == ((f"route:{destroyed}", lease),)
        with pytest.raises(Locked):
            two.claims.release([("route", destroyed)], actor=ME)
    with pytest.raises(AlreadyExists):
        two.claims.claim([ClaimSpec("route", "new", "cell-2")], actor=ME)


def test_settling_again_is_the_same_and_the_other_way_is_refused(two: Topology) -> None:
    committed, undone = begin(two, [route("a")]), begin(two, [route("b")])
    revision = two.leases.commit(1, committed, actor=ME)
    back = two.leases.roll_back(1, undone, actor=ME)
    assert two.leases.commit(1, committed, actor=ME) == revision
    assert two.leases.roll_back(1, undone, actor=ME) == back == two.revision()
    with pytest.raises(LeaseSettled) as caught:
        two.leases.roll_back(1, committed, actor=ME)
    assert caught.value.outcome == "committed"
    with pytest.raises(LeaseSettled):
        two.leases.commit(1, undone, actor=ME)
    assert owners(two, "a", "b") == [1, None]


@pytest.mark.parametrize("lease", ["", "no such lease", "x" * 1000])
def test_an_unknown_lease_is_not_found(two: Topology, lease: str) -> None:
    with pytest.raises(NotFound):
        two.leases.commit(1, lease, actor=ME)
    with pytest.raises(NotFound):
        two.leases.roll_back(1, lease, actor=ME)


def test_another_cells_lease_is_not_found_and_untouched(two: Topology) -> None:
    lease = begin(two, [route("a")])
    with pytest.raises(NotFound):
        two.leases.commit(2, lease, actor=ME)
    with pytest.raises(NotFound):
        two.leases.roll_back(2, lease, actor=ME)
    assert two.records.get("route", "a").status is RecordStatus.CREATING


def test_the_same_key_gives_the_same_lease(two: Topology) -> None:
    first = begin(two, [route("a"), route("b")], key="op-1")
    revision = two.revision()
    assert begin(two, [route("b"), route("a")], key="op-1") == first
    assert two.revision() == revision
    for other in ([route("c")], [route("b"), route("A")]):
        with pytest.raises(Invalid, match="another update"):
            begin(two, other, key="op-1")
    assert begin(two, [route("c")], cell=2, key="op-1") != first, "keys are each cell's own"
    two.leases.commit(1, first, actor=ME)
    assert begin(two, [route("a"), route("b")], key="op-1") == first
    for key in ("", "x" * 257, "a\x00b"):
        with pytest.raises(Invalid):
            begin(two, [route("d")], key=key)
