"""Measures how much memory a control plane takes, with a fleet and claims in its database.

    python -m bench.memory [--nodes N] [--cells N] [--claims N]

`cellway serve` runs as a process of its own on SQLite. `memory_mib` is the most resident memory
that it has at one of these moments: all nodes have connected, after changes, after a scrape, and
after all nodes have reconnected. `memory_peak_mib` is the most that it ever had, which it needs
when a fleet connects that has nothing yet.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from bench.fleet import moved
from bench.fleet_nodes import Crowd, Nodes, simulated
from bench.load import scratch
from bench.results import Figure, report
from bench.topologies import ACTOR, opened
from bench.world import fill
from control_plane.names import ECDS, EPOCHS_FILTER, RDS, ROUTES_NAME
from control_plane.process.event_loop import run_loop
from control_plane.topology import Topology
from tests.support.ports import unused_port

DEADLINE_S = 300.0
CLAIMS = """
INSERT INTO claims (bucket, value, cell_id, revision, created_at, uuid, status, subject_type,
                    subject_id, source_type, updated_at)
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :last)
SELECT 'route', printf('tenant-%08d', i), i * :cells / (:last + 1) + 1, 1,
       '2026-01-01 00:00:00.000000', printf('00000000-0000-4000-8000-%012d', i), 'active', 0,
       0, 0, '2026-01-01 00:00:00.000000'
FROM n
"""
"""Writes claims past the topology, which would take an hour for ten million of them. The rows are
in the order of both indexes."""


def resident_mib(pid: int, field: str = "VmRSS") -> float:
    """Return a process's resident memory, or with ``VmHWM`` the most that it ever had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise ValueError(f"{field} is not in /proc/{pid}/status")


def prepare(url: str, cells: int, claims: int) -> None:
    """Fill a database with cells, a ruleset and claims."""
    with opened(url) as topology:
        fill(topology, 20_000, cells, "passthrough", 0)
        if claims:
            with topology.engine.begin() as connection:
                connection.exec_driver_sql(CLAIMS, {"last": claims - 1, "cells": cells})


@contextlib.asynccontextmanager
async def served(directory: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, int, int]]:
    """Run `cellway serve` on a directory; yield its process, its API's port and its gRPC port."""
    ports = {"API": unused_port(), "GRPC": unused_port(), "CLASSIFIER": unused_port()}
    environment = os.environ | {f"CELLWAY_{name}_PORT": str(port) for name, port in ports.items()}
    environment |= {
        "CELLWAY_DATABASE_URL": f"sqlite:///{directory}/cellway.db",
        "CELLWAY_DATA_DIR": str(directory),
        "CELLWAY_DEBUG_NETWORKS": "[]",
        "CELLWAY_HEALTH_INTERVAL_S": "0",
    }
    command = (sys.executable, "-m", "control_plane.cli.main", "serve")
    log = (directory / "serve.log").open("wb")
    process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=log)
    try:
        await _until(lambda: _get(ports["API"], "/readyz"), f"see {log.name}")
        yield process, ports["API"], ports["GRPC"]
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        log.close()


def _get(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return bytes(answer.read())


async def _until(condition: Any, message: str) -> None:
    deadline = time.perf_counter() + DEADLINE_S
    while True:
        with contextlib.suppress(OSError):
            if await asyncio.to_thread(condition):
                return
        if time.perf_counter() > deadline:
            raise RuntimeError(message)
        await asyncio.sleep(0.2)


def _synced(api: int, nodes: int, revision: int) -> bool:
    items: list[dict[str, Any]] = json.loads(_get(api, "/v1/fleet"))["items"]
    synced = [one for one in items if one["connected"] and one["acked_revision"] >= revision]
    return len(synced) == nodes


async def measure(nodes: int, cells: int, claims: int, directory: Path) -> dict[str, Figure]:
    """Start a control plane and a fleet, make them work, and read the memory meanwhile."""
    url = f"sqlite:///{directory}/cellway.db"
    await asyncio.to_thread(prepare, url, cells, claims)
    mib: dict[str, float] = {}
    async with served(directory) as (process, api, grpc_port):
        mib["alone"] = resident_mib(process.pid)
        named = {RDS: (ROUTES_NAME,), ECDS: (EPOCHS_FILTER,)}
        crowd = Crowd(nodes, 50, grpc_port, named)
        with opened(url) as topology:
            async with simulated(crowd) as fleet:
                async for moment in _work(topology, fleet, api, nodes):
                    mib[moment] = resident_mib(process.pid)
        peak = resident_mib(process.pid, "VmHWM")
    print(", ".join(f"{moment} {value:.0f} MiB" for moment, value in mib.items()))
    return {
        "memory_mib": Figure(max(mib.values()), "MiB", "lower", "", 1),
        "memory_peak_mib": Figure(peak, "MiB", "lower", "", 1),
        "memory_without_fleet_mib": Figure(mib["alone"], "MiB", "lower", "", 1),
    }


async def _work(topology: Topology, fleet: Nodes, api: int, nodes: int) -> AsyncIterator[str]:
    """Connect the fleet, change a cell, scrape, reconnect; yield a word after each."""
    await fleet.tell("prepare")
    await fleet.tell("connect")
    revision = topology.revision()
    await _until(lambda: _synced(api, nodes, revision), "the fleet does not come up")
    yield "fleet"
    for number in range(20):
        revision = topology.cells.replace("cell-1", moved(number), actor=ACTOR).revision
        await _until(lambda at=revision: _synced(api, nodes, at), "a change is lost")
    yield "changes"
    for _ in range(5):
        await asyncio.to_thread(_get, api, "/metrics")
    yield "scrape"
    await fleet.tell("drop")
    await fleet.tell("prepare")
    await fleet.tell("connect")
    await _until(lambda: _synced(api, nodes, revision), "the fleet does not come back")
    yield "reconnect"


async def main(nodes: int, cells: int, claims: int) -> None:
    """Measure and report."""
    directory = scratch()
    try:
        report(await measure(nodes, cells, claims, directory))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--claims", type=int, default=10_000_000)
    options = parser.parse_args()
    run_loop(main(options.nodes, options.cells, options.claims))
