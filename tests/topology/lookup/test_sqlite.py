"""Look-ups on SQLite: owners and revisions of one moment, and commits of others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from control_plane.topology import Topology
from control_plane.topology.lookup import ClaimLookup
from control_plane.topology.values import CellState, ClaimKey, ClaimSpec, DatabaseFailed

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.fixture
def lookup(two: Topology) -> Iterator[ClaimLookup]:
    opened = two.claim_lookup()
    yield opened
    opened.close()


def test_owners_stand_in_the_order_of_the_keys_whatever_their_spelling(
    two: Topology, lookup: ClaimLookup
) -> None:
    two.claims.claim([ClaimSpec("route", "a", "cell-1")], actor="t")
    two.claims.claim([ClaimSpec("route", "b", "cell-2")], actor="t")
    keys = [("route", "/B/"), ("user_id", "no number"), ("route", "nobody's"), ("route", "A")]
    assert lookup.owner_ids_of(keys) == [2, None, None, 1]
    seen = lookup.owners_of(keys)
    assert list(seen.owners) == [2, None, None, 1]
    names = ("b", "nobody's", "a")
    assert list(seen.shards) == [ClaimKey("route", name).shard for name in names]


def test_an_answer_has_the_revisions_that_were_committed(
    two: Topology, lookup: ClaimLookup
) -> None:
    edge_revision = two.revision()
    assert lookup.owners_of([])[:2] == (edge_revision, edge_revision)
    two.claims.claim([ClaimSpec("route", "a", "cell-1")], actor="t")
    assert lookup.owners_of([("route", "a")])[:2] == (edge_revision + 1, edge_revision)
    two.cells.set_state("cell-1", CellState.CORDONED, actor="t")
    assert lookup.owners_of([])[:2] == (edge_revision + 2, edge_revision + 2)
    assert lookup.edge_revision() == edge_revision + 2


def test_each_commit_is_a_change_once(two: Topology, lookup: ClaimLookup) -> None:
    assert lookup.changed() is False
    two.claims.claim([ClaimSpec("route", "a", "cell-1")], actor="t")
    assert lookup.changed() is True
    assert lookup.changed() is False


def test_a_driver_s_error_is_one_of_the_topology(two: Topology, lookup: ClaimLookup) -> None:
    with two.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE claims RENAME TO lost")
    with pytest.raises(DatabaseFailed):
        lookup.owners_of([("route", "a")])
    with pytest.raises(DatabaseFailed):
        lookup.owner_ids_of([("route", "a")])
