"""Measures a control plane with a thousand cells, on which a thousand Envoys hang.

    python -m bench.fleet [--nodes N] [--cells N] [--channels N] [--changes N] [--profile FILE]

The server runs in this process on one core; the simulated Envoys run in another process on another
core. Fan-out is the time from a commit to the ACK of the last node. Reconnect is the time from all
nodes coming back at once, naming what they have, until the control plane knows that each of them
runs the newest revision.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import cProfile
import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.commits import commit_time
from bench.fleet_nodes import Crowd, Nodes, simulated
from bench.load import scratch
from bench.results import Figure, report
from bench.topologies import cell_spec
from bench.world import fill, plane_settings
from control_plane.names import CDS, EDS, LDS
from control_plane.process.event_loop import run_loop
from control_plane.server import Running, running
from control_plane.topology.values.cell import CellSpec

DEADLINE_S = 300.0


@dataclass(frozen=True, slots=True)
class Size:
    """How large the fleet and the topology are."""

    nodes: int = 1000
    cells: int = 1000
    channels: int = 50


def cores() -> tuple[int | None, int | None]:
    """Return a core for the server and one for the clients; None twice on a single core."""
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) > 1 else (None, None)


def crowd(plane: Running, size: Size, core: int | None) -> Crowd:
    """Return nodes that subscribe to all that is published."""
    assert plane.xds is not None
    snapshot = plane.xds.cache.newest
    names = {url: tuple(snapshot.of_type(url)) for url in snapshot.types - {CDS, EDS, LDS}}
    return Crowd(size.nodes, size.channels, plane.ports.grpc, names, core)


async def published(plane: Running) -> None:
    """Wait until the newest revision is published.

    Raises:
        TimeoutError: it is not within `DEADLINE_S`.
    """
    assert plane.xds is not None
    revision = plane.topology.revision()
    async with asyncio.timeout(DEADLINE_S):
        while plane.xds.cache.newest.revision < revision:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def settled(plane: Running, nodes: int) -> None:
    """Wait until this many nodes are connected and run the newest revision.

    Raises:
        RuntimeError: they do not within `DEADLINE_S`.
    """
    assert plane.xds is not None
    deadline = time.perf_counter() + DEADLINE_S
    while plane.xds.streams < nodes or plane.fleet.connected_nodes < nodes:
        if time.perf_counter() > deadline:
            raise RuntimeError(f"{plane.xds.streams} of {nodes} nodes are there")
        await asyncio.sleep(0.005)
    lacking = await plane.fleet.wait(plane.topology.revision(), DEADLINE_S)
    if lacking:
        raise RuntimeError(f"{len(lacking)} nodes lag, {lacking[0]} first")


def moved(number: int) -> CellSpec:
    """Return the first cell at one of two ports in turn: only its endpoints change."""
    return cell_spec(1, 20_000 + number % 2)


async def fanout(
    plane: Running, write: Callable[[int], int], changes: int
) -> tuple[list[float], float]:
    """Commit changes one after another, and wait each time until the whole fleet runs it.

    Args:
        plane: The control plane.
        write: Makes the change of a number; returns its revision.
        changes: How many.

    Returns:
        The seconds from each commit to the ACK of the last node, and the server's processor time
        for one change.
    """
    cpu = time.process_time()
    taken: list[float] = []
    for number in range(changes):
        with commit_time(plane.topology) as committed:
            revision = await asyncio.to_thread(write, number)
            lacking = await plane.fleet.wait(revision, DEADLINE_S)
            now = time.perf_counter()
        if lacking:
            raise RuntimeError(f"{len(lacking)} nodes lag, {lacking[0]} first")
        taken.append(now - await committed)
    return taken, (time.process_time() - cpu) / changes


async def reconnect(plane: Running, nodes: Nodes, count: int) -> tuple[float, float, int]:
    """Drop all nodes and let them come back at once.

    Returns:
        The seconds until all run the newest revision, the server's processor time, and the bytes
        of resources that were sent.
    """
    assert plane.xds is not None
    await nodes.tell("drop")
    while plane.xds.streams:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.01)
    await nodes.tell("prepare")
    sent = plane.xds.sent_resource_bytes
    started, cpu = time.perf_counter(), time.process_time()
    await nodes.tell("connect")
    await settled(plane, count)
    taken, cpu = time.perf_counter() - started, time.process_time() - cpu
    await asyncio.sleep(0.5)
    received = (await nodes.tell("report")).resource_bytes
    return taken, cpu, max(received, plane.xds.sent_resource_bytes - sent)


@contextlib.contextmanager
def profiled(file: Path | None) -> Iterator[None]:
    """Profile this thread into a file, if there is one."""
    if file is None:
        yield
        return
    with cProfile.Profile() as profile:
        yield
    profile.dump_stats(file)


async def main(size: Size, changes: int, profile: Path | None = None) -> None:
    """Measure and report."""
    ours, theirs = cores()
    if ours is not None:
        os.sched_setaffinity(0, {ours})
    directory = scratch()
    try:
        async with running(plane_settings(directory)) as plane:
            await asyncio.to_thread(fill, plane.topology, 20_000, size.cells, "passthrough", 0)
            await published(plane)
            async with simulated(crowd(plane, size, theirs)) as nodes:
                with profiled(profile):
                    figures = await _measure(plane, nodes, size, changes)
        report(figures)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _measure(plane: Running, nodes: Nodes, size: Size, changes: int) -> dict[str, Figure]:
    def endpoints(number: int) -> int:
        return plane.topology.cells.replace("cell-1", moved(number + 1), actor="bench").revision

    def new_cell(number: int) -> int:
        spec = cell_spec(size.cells + 1 + number, 20_000)
        return plane.topology.cells.create(spec, actor="bench").revision

    await nodes.tell("prepare")
    started = time.perf_counter()
    await nodes.tell("connect")
    await settled(plane, size.nodes)
    boot = time.perf_counter() - started
    moves, moves_cpu = await fanout(plane, endpoints, changes)
    cells, cells_cpu = await fanout(plane, new_cell, changes)
    rounds = [await reconnect(plane, nodes, size.nodes) for _ in range(3)]
    seconds = statistics.median(taken for taken, _, _ in rounds)
    cpu = statistics.median(used for _, used, _ in rounds)
    worst = max(sent for _, _, sent in rounds)
    name = f"{size.nodes}_nodes"
    return {
        f"fanout_{name}_s": Figure(statistics.median(moves), "s", "lower", "", changes),
        f"fanout_{name}_max_s": Figure(max(moves), "s", "lower", "", changes),
        f"fanout_{name}_cpu_s": Figure(moves_cpu, "s", "lower", "", changes),
        f"fanout_{name}_new_cell_s": Figure(statistics.median(cells), "s", "lower", "", changes),
        f"fanout_{name}_new_cell_cpu_s": Figure(cells_cpu, "s", "lower", "", changes),
        f"boot_{name}_s": Figure(boot, "s", "lower", "", 1),
        f"reconnect_{name}_s": Figure(seconds, "s", "lower", "", len(rounds)),
        f"reconnect_{name}_cpu_s": Figure(cpu, "s", "lower", "", len(rounds)),
        "reconnect_resource_bytes": Figure(worst, "bytes", "lower", "", len(rounds)),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--channels", type=int, default=50)
    parser.add_argument("--changes", type=int, default=10)
    parser.add_argument("--profile", type=Path)
    options = parser.parse_args()
    run_loop(
        main(Size(options.nodes, options.cells, options.channels), options.changes, options.profile)
    )
