"""Look-ups on PostgreSQL: lost connections, and notifications that come, or never do."""

from __future__ import annotations

import time

import psycopg
import pytest

from control_plane.topology import Topology
from control_plane.topology.lookup import ClaimLookup, postgresql
from control_plane.topology.values import CellState, ClaimSpec, TopologyError

GENEROUS_S = 20.0
pytestmark = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)


def wait_for_change(lookup: ClaimLookup) -> None:
    deadline = time.monotonic() + GENEROUS_S
    while not lookup.changed():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_broken_connection_is_replaced(two: Topology, url: str) -> None:
    two.claims.owners_of([("route", "a")])
    lookup = two.claim_lookup()
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(2):
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            revision = two.claims.claim(
                [ClaimSpec("route", f"a{two.revision()}", "cell-1")], actor="m"
            )
            assert two.revision() == revision.revision
            wait_for_change(lookup)
            assert lookup.owner_ids_of([("route", f"a{revision.revision - 1}")]) == [1]
    lookup.close()
    connection.close()


@pytest.mark.parametrize("lost", [False, True])
def test_a_commit_elsewhere_is_seen_with_or_without_its_notification(
    two: Topology, url: str, lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Topology.open(url)
    lookup = two.claim_lookup()
    assert isinstance(lookup, postgresql.PostgresqlLookup)
    if lost:
        lookup._connection.execute("UNLISTEN *")
    else:
        monkeypatch.setattr(postgresql, "POLL_S", 3600.0)
    assert lookup.changed() is False
    other.claims.claim([ClaimSpec("route", "a", "cell-1")], actor="m")
    wait_for_change(lookup)
    assert lookup.changed() is False
    assert lookup.owner_ids_of([("route", "A"), ("route", "b"), ("route", "")]) == [1, None, None]
    edge = lookup.edge_revision()
    other.cells.set_state("cell-1", CellState.CORDONED, actor="m")
    assert lookup.edge_revision() == edge + 2
    lookup.close()
    other.close()


def test_owners_are_always_of_now_and_what_is_committed_may_be_a_moment_old(
    two: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "POLL_S", 3600.0)
    lookup = two.claim_lookup()
    assert isinstance(lookup, postgresql.PostgresqlLookup)
    before = lookup.owners_of([]).revision
    lookup._connection.execute("UNLISTEN *")
    two.claims.claim([ClaimSpec("route", "a", "cell-1")], actor="m")
    assert lookup.owners_of([("user_id", "no number")])[:3] == (before, before, [None])
    seen = lookup.owners_of([("user_id", "no number"), ("route", "/A"), ("route", "b")])
    assert (seen.revision, list(seen.owners)) == (before + 1, [None, 1, None])
    assert lookup.owners_of([]).revision == before + 1
    lookup.close()


def sessions(url: str) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def test_a_look_up_that_can_t_be_made_leaves_no_connection(two: Topology, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE revisions RENAME TO gone")
        before = sessions(url)
        for _ in range(3):
            with pytest.raises(TopologyError):
                two.claim_lookup()
        assert sessions(url) <= before
        connection.execute("ALTER TABLE gone RENAME TO revisions")
    two.claim_lookup().close()
