"""Measures the owners stream: a thousand readers and a thousand changes a second, and large bases.

    python -m bench.owners [--readers N] [--changes N] [--seconds S] [--names N]

The control plane is a process of its own. The readers are another, and a third one claims names in
the same database, as another replica would. The lag of a change is the time from its commit until
a reader has it, for all changes and readers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import shutil
import sqlite3
import tempfile
import time
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

from bench.load import scratch
from bench.owner_readers import Crowd, Readers, reading
from bench.process import process, processor_seconds, serve_grpc, spawned
from bench.results import Figure, p99, report
from bench.topologies import cell_spec
from control_plane.owners.source.builder import BaseBuilder
from control_plane.topology import Topology

CELLS = 10
CLAIMS_AT_ONCE = 50
LOAD_S = 300.0
SAMPLE = 20
"""Every so manieth frame counts for the lag: two millions of pairs are enough."""
_FILL = """
WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < ?)
INSERT INTO claims (bucket, value, cell_id, revision, created_at, uuid, status, subject_type,
    subject_id, source_type, updated_at)
SELECT 'route', printf('group-%08d/a-project', n), 1 + n % 10, 1, '2026-11-30 12:00:00.000000',
    printf('%036d', n), 'active', 0, 0, 0, '2026-11-30 12:00:00.000000' FROM numbers"""


def filled(directory: Path, names: int) -> str:
    """Return the URL of a new database with cells and claims."""
    url = f"sqlite:///{directory}/names-{names}.db"
    with closing(Topology.open(url)) as topology:
        for number in range(1, CELLS + 1):
            topology.cells.create(cell_spec(number, 20_000), actor="bench")
    file = url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(file, autocommit=True)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute(_FILL, (names,))
    return url


def _claim(pipe: Connection, url: str, per_second: int, seconds: float) -> None:
    """Claim names at a steady rate; send the time of each commit by revision."""
    commits: dict[int, float] = {}
    with closing(Topology.open(url, migrate_first=False)) as topology:
        topology.subscribe(lambda revision: commits.update({revision: time.monotonic()}))
        began = time.monotonic()
        for number in range(int(per_second * seconds / CLAIMS_AT_ONCE)):
            line = {"bucket": "route", "cell": f"cell-{1 + number % CELLS}"}
            lines = [
                json.dumps(line | {"value": f"new-{number}-{one}"}) for one in range(CLAIMS_AT_ONCE)
            ]
            topology.bulk.import_(
                lines, actor="bench", reject=lambda _: None, progress=lambda _: None
            )
            late = began + (number + 1) * CLAIMS_AT_ONCE / per_second - time.monotonic()
            time.sleep(max(0.0, late))
        pipe.send((commits, time.monotonic() - began))


def _wait_for_tables(crowd: Crowd, readers: int) -> float:
    """Wait until all tables are whole; return how long that took the slowest reader."""
    began = time.monotonic()
    while crowd.noted().whole < readers:
        if time.monotonic() - began > LOAD_S:
            raise TimeoutError(f"{crowd.noted().whole} of {readers} tables are whole")
        time.sleep(0.05)
    return crowd.noted().load_s


def fanout(url: str, readers: int, per_second: int, seconds: float) -> dict[str, Figure]:
    """Measure processor time and lag of many readers and changes."""
    with process(serve_grpc, url) as (pid, port), reading(Readers(readers, 50, port)) as crowd:
        _wait_for_tables(crowd, readers)
        idle, at = processor_seconds(pid), time.monotonic()
        time.sleep(min(5.0, seconds))
        idle = (processor_seconds(pid) - idle) / (time.monotonic() - at)
        crowd.noted(forget=True)
        with spawned(_claim, url, per_second, seconds) as (_, writer):
            # Its imports and first commits are not counted, nor is its end.
            time.sleep(2.0)
            used, at = processor_seconds(pid), time.monotonic()
            time.sleep(seconds - 2.0)
            share = (processor_seconds(pid) - used) / (time.monotonic() - at)
            commits, took = writer.recv()
        time.sleep(1.0)
        noted = crowd.noted()
    lags = [
        at - commits[revision]
        for before, upto, at in noted.frames[::SAMPLE]
        for revision in range(before + 1, upto + 1)
        if revision in commits
    ]
    made = len(commits) * CLAIMS_AT_ONCE / took
    frames = len(noted.frames) / took
    print(f"{made:.0f} changes/s, {frames:.0f} frames of changes/s, lags of {len(lags)} pairs")
    name = f"owners_{readers}_readers"
    return {
        f"{name}_cores": Figure(share, "cores", "lower", "", 1),
        f"{name}_idle_cores": Figure(idle, "cores", "lower", "", 1),
        f"{name}_lag_p99_s": Figure(p99(lags), "s", "lower", "", len(lags)),
    }


def base(url: str, directory: Path, names: int) -> dict[str, Figure]:
    """Measure how long a base takes to be built, and to come to one reader."""
    with closing(Topology.open(url, migrate_first=False)) as topology:
        began, cpu = time.monotonic(), _children_seconds()
        asyncio.run(BaseBuilder(topology, directory).build())
        built, cpu = time.monotonic() - began, _children_seconds() - cpu
    with process(serve_grpc, url) as (pid, port), reading(Readers(1, 1, port)) as crowd:
        _wait_for_tables(crowd, 1)
        with reading(Readers(1, 1, port)) as second:
            used = processor_seconds(pid)
            sent = _wait_for_tables(second, 1)
            used = processor_seconds(pid) - used
    million = f"owners_base_{names // 1_000_000}m"
    return {
        f"{million}_build_s": Figure(built, "s", "lower", "", 1),
        f"{million}_build_cpu_s": Figure(cpu, "s", "lower", "", 1),
        f"{million}_send_s": Figure(sent, "s", "lower", "", 1),
        f"{million}_send_cpu_s": Figure(used, "s", "lower", "", 1),
    }


def _children_seconds() -> float:
    """Return the processor time of the processes of ours that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(readers: int, per_second: int, seconds: float, names: int) -> None:
    """Measure and report."""
    directory = scratch()
    # In memory: what others write to the disk holds up commits, which are not what is measured.
    memory = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    try:
        report(fanout(filled(memory, 20_000), readers, per_second, seconds))
        report(base(filled(directory, names), directory, names))
    finally:
        for one in (directory, memory):
            shutil.rmtree(one, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readers", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--names", type=int, default=1_000_000)
    options = parser.parse_args()
    main(options.readers, options.changes, options.seconds, options.names)
