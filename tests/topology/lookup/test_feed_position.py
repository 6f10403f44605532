"""What is committed, told in one statement, so that whoever follows reads only what has changed."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from control_plane.topology import Subject, Topology
from control_plane.topology.lookup import ClaimLookup, FeedPosition
from control_plane.topology.values.cell import CellSpec, CellState
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.endpoint import Endpoint


@pytest.fixture
def topology(url: str) -> Iterator[Topology]:
    made = Topology.open(url, migrate_first=False)
    for number in (1, 2):
        endpoint = Endpoint("10.0.0.1", 443)
        spec = CellSpec(f"c{number}", f"c{number}.example", (endpoint,), state=CellState.ACTIVE)
        made.cells.create(spec, actor="t")
    yield made
    made.close()


@pytest.fixture
def lookup(topology: Topology) -> Iterator[ClaimLookup]:
    made = topology.claim_lookup()
    yield made
    made.close()


def test_only_what_changes_an_owner_or_the_edge_changes_more_than_the_revision(
    topology: Topology, lookup: ClaimLookup
) -> None:
    first = lookup.feed_position()
    assert first == FeedPosition(2, 2, 0)
    claimed = topology.claims.claim(
        [ClaimSpec("route", "a", "c1", subject="s")], actor="t"
    ).revision
    assert lookup.feed_position() == FeedPosition(claimed, 2, 0)
    topology.moves.move(Subject(text="s"), "c1", "c2", reason="r", actor="t")
    moved = lookup.feed_position()
    assert moved == FeedPosition(topology.revision(), 2, sum(topology.snapshot().epochs.values()))
    assert moved.epochs > 0
    topology.cells.set_health("c1", healthy=False, actor="t")
    assert lookup.feed_position() == FeedPosition(
        moved.revision + 1, moved.revision + 1, moved.epochs
    )


def test_a_connection_made_anew_is_told(
    topology: Topology, lookup: ClaimLookup, url: str, engine: str
) -> None:
    before = lookup.feed_position()
    if engine == "sqlite":
        assert lookup.feed_position() == before
        return
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND datname = current_database()"
        )
    assert lookup.feed_position() == before._replace(connection=2)
