"""Measures what the claims protocol and look-ups cost ÷ the bare driver, in the same run.

    python -m bench.claims [--claims N] [--rounds N] [--seconds S]

`claims_vs_psycopg` is a ratio of batches per second: begin and commit of batches of 10 on
PostgreSQL (fsync on), against bare psycopg that inserts and updates the same rows in two
transactions. `lookup_p99_ratio_sqlite` and `lookup_p99_ratio_postgresql` are ratios of p99
latencies: look-ups of one of N claims (1,000,000 by default; try 10,000,000), against the same
statement on the bare driver.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sqlite3
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from bench.load import scratch
from bench.results import Figure, report
from bench.topologies import DURABLE, NOWHERE, add_cells, opened
from control_plane.topology import Topology
from control_plane.topology.lookup.sql import owner_sql
from control_plane.topology.values.claim import RecordSpec
from tests.support.postgres import postgres

BATCH = 10
LOOKUPS = 20_000
"""Look-ups of each kind in a round."""
IMPORTED = 100_000
"""Claims of each import."""
_COLUMNS = (
    "bucket, value, uuid, subject_type, subject_id, source_type, source_id, user_data, lease,"
    " cell_id, status, revision, created_at, updated_at"
)
_FILL_SQLITE = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
INSERT INTO claims (bucket, value, cell_id, revision, created_at, uuid, status, subject_type,
    subject_id, source_type, updated_at)
SELECT 'route', 'tenant-' || i, 1, 1, '2026-01-01 00:00:00.000000', lower(hex(randomblob(18))),
    'active', 0, 0, 0, '2026-01-01 00:00:00.000000'
FROM n"""
_FILL_POSTGRESQL = """
INSERT INTO claims (bucket, value, cell_id, revision, created_at, uuid, status, subject_type,
    subject_id, source_type, updated_at)
SELECT 'route', 'tenant-' || i, 1, 1, now(), CAST(gen_random_uuid() AS text), 'active', 0, 0, 0,
    now()
FROM generate_series(1, %s) AS i"""


@contextmanager
def _one_cell(url: str) -> Iterator[Topology]:
    with opened(url) as topology:
        add_cells(topology, [NOWHERE])
        yield topology


def _rate(step: Callable[[], None], seconds: float) -> float:
    """Repeat a step for some seconds; return how often a second."""
    started = time.perf_counter()
    count = 0
    while (now := time.perf_counter()) - started < seconds:
        step()
        count += 1
    return count / (now - started)


def _ours(topology: Topology) -> Callable[[], None]:
    """Return the step that begins and commits a batch through the topology."""

    def step() -> None:
        specs = [
            RecordSpec("route", uuid.uuid4().hex, 3, at, 4, at.to_bytes(8, "big"))
            for at in range(1, BATCH + 1)
        ]
        lease = topology.leases.begin(1, specs, [], actor="bench").value
        topology.leases.commit(1, lease.uuid, actor="bench")

    return step


def _bare(connection: psycopg.Connection[Any]) -> Callable[[], None]:
    """Return the step that writes the same rows to a table with the same columns and indexes."""
    connection.execute("CREATE TABLE bare (LIKE claims INCLUDING ALL)")
    connection.execute("ALTER TABLE bare ADD FOREIGN KEY (cell_id) REFERENCES cells")
    connection.commit()
    row = "(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'creating', 1, now(), now())"
    insert = f"INSERT INTO bare ({_COLUMNS}) VALUES {', '.join([row] * BATCH)}"
    activate = (
        "UPDATE bare SET status = 'active', lease = NULL, updated_at = now() WHERE lease = %s"
    )

    def step() -> None:
        lease = str(uuid.uuid4())
        params: list[Any] = []
        for at in range(1, BATCH + 1):
            params += ("route", uuid.uuid4().hex, str(uuid.uuid4()), 3, at, 4)
            params += (at.to_bytes(8, "big"), b"", lease, 1)
        connection.execute(insert.encode(), params)
        connection.commit()
        connection.execute(activate.encode(), (lease,))
        connection.commit()

    return step


def _writes(url: str, topology: Topology, rounds: int, seconds: float) -> dict[str, Figure]:
    with psycopg.connect(url) as connection:
        ours, bare = _ours(topology), _bare(connection)
        rates = [(_rate(ours, seconds), _rate(bare, seconds)) for _ in range(rounds + 1)][1:]
    connection.close()
    baseline = "bare psycopg, two transactions"
    ratio = statistics.median(mine / other for mine, other in rates)
    rate = statistics.median(mine for mine, _ in rates)
    return {
        "claims_vs_psycopg": Figure(ratio, "ratio", "higher", baseline, rounds),
        "claims_batches_per_second": Figure(rate, "1/s", "higher", baseline, rounds),
    }


def _p99_ratio(
    ours: Callable[[str], object], bare: Callable[[str], object], claims: int, rounds: int
) -> float:
    """Return the median over rounds of p99 of our look-up ÷ p99 of the bare one."""
    ratios: list[float] = []
    for _ in range(rounds):
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(LOOKUPS):
            # In turn, each with keys of its own, so that noise and caches favour neither.
            for call, taken in zip((ours, bare), times, strict=True):
                value = f"tenant-{random.randint(1, claims)}"
                started = time.perf_counter()
                call(value)
                taken.append(time.perf_counter() - started)
        mine, other = (statistics.quantiles(taken, n=100)[98] for taken in times)
        ratios.append(mine / other)
    return statistics.median(ratios)


def _lookups(
    topology: Topology, bare: Callable[[str], object], name: str, claims: int, rounds: int
) -> dict[str, Figure]:
    lookup = topology.claim_lookup()
    if lookup.owner_ids_of([("route", f"tenant-{claims}")]) != [1]:
        raise RuntimeError("the claims are not there")
    ratio = _p99_ratio(lambda value: lookup.owner_ids_of([("route", value)]), bare, claims, rounds)
    lookup.close()
    baseline = f"the same statement on the bare driver, {claims} claims"
    return {f"lookup_p99_ratio_{name}": Figure(ratio, "ratio", "lower", baseline, rounds)}


def _import(topology: Topology) -> dict[str, Figure]:
    """Measure an import into SQLite, in lines a second from text to commit."""
    rates: list[float] = []
    for number in range(3):
        lines = [
            f'{{"bucket": "username", "value": "u{number}-{at}", "cell": "cell-1"}}\n'
            for at in range(IMPORTED)
        ]
        started = time.perf_counter()
        done = topology.bulk.import_(lines, actor="bench", reject=print, progress=lambda _: None)
        rates.append(done.created / (time.perf_counter() - started))
    rate = statistics.median(rates)
    return {"import_claims_per_second": Figure(rate, "1/s", "higher", "SQLite", len(rates))}


def on_sqlite(directory: Path, claims: int, rounds: int) -> dict[str, Figure]:
    """Measure look-ups and an import on SQLite."""
    with _one_cell(f"sqlite:///{directory}/claims.db") as topology:
        connection = sqlite3.connect(directory / "claims.db", autocommit=True)
        connection.execute(_FILL_SQLITE, (claims,))
        cursor = connection.cursor()
        statement = owner_sql("?")

        def bare(value: str) -> object:
            return cursor.execute(statement, ("route", value)).fetchone()

        figures = _lookups(topology, bare, "sqlite", claims, rounds) | _import(topology)
        connection.close()
    return figures


def on_postgresql(claims: int, rounds: int, seconds: float) -> dict[str, Figure]:
    """Measure writes and look-ups on PostgreSQL."""
    with (
        postgres(DURABLE) as server,
        server.database("bench") as url,
        _one_cell(url) as topology,
    ):
        figures = _writes(url, topology, rounds, seconds)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_FILL_POSTGRESQL, (claims,))
            connection.execute("VACUUM ANALYZE claims")
            cursor = connection.cursor()
            statement = owner_sql("%s")

            def bare(value: str) -> object:
                return cursor.execute(statement, ("route", value), prepare=True).fetchone()

            figures |= _lookups(topology, bare, "postgresql", claims, rounds)
        connection.close()
        return figures


def main(*, claims: int = 1_000_000, rounds: int = 5, seconds: float = 2.0) -> None:
    """Measure and report."""
    directory = scratch()
    try:
        report(on_sqlite(directory, claims, rounds))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    report(on_postgresql(claims, rounds, seconds))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    main(claims=options.claims, rounds=options.rounds, seconds=options.seconds)
