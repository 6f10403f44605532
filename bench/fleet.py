"""A thousand Envoys on one control plane with a thousand cells.

    python -m bench.fleet [--nodes N] [--cells N] [--channels N] [--changes N] [--profile FILE]

The server runs in this process on one core, the simulated Envoys in another on another core.
Fan-out: from a commit to the ACK of the last node. Reconnect: all nodes come back at once and say
what they have; until the control plane knows each of them to run the newest revision.
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

from bench.fleet_nodes import Crowd, Nodes, simulated
from bench.load import scratch
from bench.propagation import settle
from bench.results import Figure, report
from bench.world import fill, plane_settings
from control_plane.names import CDS, EDS, LDS
from control_plane.process.event_loop import run_loop
from control_plane.server import Running, running
from control_plane.topology.values.cell import CellSpec, CellState
from control_plane.topology.values.endpoint import Endpoint

DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class Size:
    """How large the fleet and the topology are."""

    nodes: int = 1000
    cells: int = 1000
    channels: int = 50


def cores() -> tuple[int | None, int | None]:
    """A core for the server and one for the clients; None where there are no two."""
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) > 1 else (None, None)


def crowd(plane: Running, size: Size, core: int | None) -> Crowd:
    """Nodes that subscribe to all that there is."""
    assert plane.xds is not None
    snapshot = plane.xds.cache.newest
    names = {url: tuple(snapshot.of_type(url)) for url in snapshot.types - {CDS, EDS, LDS}}
    return Crowd(size.nodes, size.channels, plane.ports.grpc, names, core)


async def published(plane: Running) -> None:
    """Wait until the newest revision is there for nodes to subscribe to.

    Raises:
        TimeoutError: not in `DEADLINE_S`.
    """
    assert plane.xds is not None
    revision = plane.topology.revision()
    async with asyncio.timeout(DEADLINE_S):
        while plane.xds.cache.newest.revision < revision:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def settled(plane: Running, nodes: int) -> None:
    """Wait until so many nodes are connected and run the newest revision.

    Raises:
        RuntimeError: not in `DEADLINE_S`.
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
    """The first cell at another port: its endpoints change, nothing else."""
    return _spec(1, 20_000 + number % 2)


def _spec(cell: int, port: int) -> CellSpec:
    return CellSpec(
        f"cell-{cell}",
        f"cell-{cell}.example.com",
        (Endpoint("127.0.0.1", port),),
        session_prefix=f"cell-{cell}",
        state=CellState.ACTIVE,
    )


async def fanout(
    plane: Running, write: Callable[[int], int], changes: int
) -> tuple[list[float], float]:
    """Seconds from each commit to the ACK of the last node, and of the server's CPU for one."""
    cpu = time.process_time()
    taken: list[float] = []
    loop = asyncio.get_running_loop()
    for number in range(changes):
        committed: asyncio.Future[float] = loop.create_future()

        def noted(_: int, future: asyncio.Future[float] = committed) -> None:
            now = time.perf_counter()
            loop.call_soon_threadsafe(settle, future, now)

        stop = plane.topology.subscribe(noted)
        revision = await asyncio.to_thread(write, number)
        lacking = await plane.fleet.wait(revision, DEADLINE_S)
        now = time.perf_counter()
        stop()
        if lacking:
            raise RuntimeError(f"{len(lacking)} nodes lag, {lacking[0]} first")
        taken.append(now - await committed)
    return taken, (time.process_time() - cpu) / changes


async def reconnect(plane: Running, nodes: Nodes, count: int) -> tuple[float, float, int]:
    """Seconds until all are back and quiet, of the server's CPU, and bytes of resources."""
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
    """Profile this thread into a file, if one is given."""
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
        spec = _spec(size.cells + 1 + number, 20_000)
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
    given = parser.parse_args()
    run_loop(main(Size(given.nodes, given.cells, given.channels), given.changes, given.profile))
