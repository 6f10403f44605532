"""A failover of PostgreSQL from a primary to its standby, while a control plane runs."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from control_plane.topology import Topology
from control_plane.topology.values import ClaimSpec
from tests.support.conditions import wait_until
from tests.support.postgres import Postgres, postgres
from tests.topology.conftest import cell_spec


@pytest.fixture
def pair() -> Iterator[tuple[Postgres, Postgres]]:
    with postgres() as primary, postgres(primary=primary) as standby:
        yield primary, standby


def run(server: Postgres, *statements: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        for one in statements:
            last = connection.execute(one.encode())
        return last.fetchall()


def fail_over(primary: Postgres, standby: Postgres) -> None:
    """Make the old primary read-only, sessions that run on it included, and promote the standby."""
    reached = run(primary, "SELECT pg_current_wal_insert_lsn()")[0][0]
    arrived = f"SELECT pg_last_wal_replay_lsn() >= '{reached}'"
    wait_until(lambda: bool(run(standby, arrived)[0][0]), 30)
    run(
        primary,
        "ALTER SYSTEM SET default_transaction_read_only = on",
        "SELECT pg_reload_conf()",
    )
    wait_until(lambda: run(primary, "SHOW default_transaction_read_only") == [("on",)], 30)
    run(standby, "SELECT pg_promote()")


def claim(topology: Topology, name: str, cell: str = "cell-1") -> None:
    topology.claims.claim([ClaimSpec("route", name, cell)], actor="tester")


def test_writes_and_reads_follow_the_primary_by_themselves(
    pair: tuple[Postgres, Postgres],
) -> None:
    hosts = "&".join(f"host={server.directory}" for server in pair)
    topology = Topology.open(
        f"postgresql://postgres@/postgres?{hosts}&target_session_attrs=read-write"
    )
    topology.cells.create(cell_spec(1), actor="tester")
    claim(topology, "before")
    lookup = topology.claim_lookup()
    assert lookup.owner_ids_of([("route", "before")]) == [1]
    fail_over(*pair)
    claim(topology, "after")
    assert topology.write_trouble is None
    assert topology.claims.get("route", "after").cell == "cell-1"
    wait_until(lambda: lookup.changed() and lookup.owner_ids_of([("route", "after")]) == [1], 10)
    lookup.close()
    topology.close()
