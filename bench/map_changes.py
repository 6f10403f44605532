"""Measures how fast the edge map follows: a change of an owner, and a whole table.

    python -m bench.map_changes [--moves N] [--names N]

`owner_change_p99_ms` is the time from the commit of a move to the first request that Envoy decides
by the map for the new owner: the classifier, which knows it at once, does not count.
`map_load_10m_s` is the time from the start of an Envoy until its map holds all names, while the
control plane has its base ready; `map_load_10m_memory_mib` is what that Envoy has more than before.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import resource
import shutil
import socket
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.commits import commit_time
from bench.edge_map import pid
from bench.load import scratch
from bench.owners import filled
from bench.results import Figure, p99, report
from bench.topologies import activate
from bench.watcher import DEADLINE_S, watching
from bench.world import World, plane_settings, upstream, world
from control_plane.cli.local.edge_module import local_module
from control_plane.cli.local.system import local_bootstrap
from control_plane.process.envoy import Envoy
from control_plane.process.envoy_admin import EnvoyAdmin
from control_plane.process.event_loop import run_loop
from control_plane.server import running
from control_plane.topology import Subject
from control_plane.topology.values.claim import ClaimSpec

CELLS = ("cell-1", "cell-2")
SETTLE_S = 0.05
"""Between two moves."""
LOAD_S = 900.0
"""How long a control plane may take to build its first base, and an Envoy to read it."""
POLL_S = 0.02
FULL_NAMES = 10_000_000
NAMES = "dynamicmodulescustom.cellway_edge_names"
"""The module's gauge of names."""
_REQUEST = b"GET /t/mover/x HTTP/1.1\r\nhost: bench\r\n\r\n"
_LENGTH = re.compile(rb"content-length: (\d+)")


async def moves(number: int) -> list[float]:
    """Return the seconds from each commit to the first decision of the map for the new owner."""
    directory = scratch()
    on: dict[str, Any] = {"edge_module": "on", "debug_networks": ("127.0.0.0/8",)}
    try:
        with upstream() as target:
            async with world(directory, target, len(CELLS), "generic", **on) as edge:
                claim = ClaimSpec("tenant", "mover", CELLS[0], "mover")
                edge.plane.topology.claims.claim([claim], actor="bench")
                with watching(_first_answer, edge.port) as watcher:
                    return [await _move(edge, watcher, at % 2) for at in range(number)]
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _move(edge: World, watcher: Connection, at: int) -> float:
    source, target = CELLS[at], CELLS[1 - at]
    await asyncio.sleep(SETTLE_S)
    watcher.send(target)
    with commit_time(edge.plane.topology) as committed:
        await asyncio.to_thread(
            edge.plane.topology.moves.move,
            Subject(text="mover"),
            source,
            target,
            reason="bench",
            actor="bench",
        )
        began = await committed
    decided: float = await asyncio.to_thread(watcher.recv)
    return decided - began


def _first_answer(client: socket.socket, cell: str) -> float:
    """Ask again and again until the map decides for a cell; return the time at which it did.

    Raises:
        RuntimeError: none came within `DEADLINE_S`.
    """
    wanted = (f"x-cellway-cell: {cell}\r\n".encode(), b"x-cellway-tier: edge-map\r\n")
    deadline = time.perf_counter() + DEADLINE_S
    while time.perf_counter() < deadline:
        client.sendall(_REQUEST)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += client.recv(65536)
        head, _, body = answer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        while length is not None and len(body) < int(length[1]):
            body += client.recv(65536)
        if all(line in head + b"\r\n" for line in wanted):
            return time.perf_counter()
    raise RuntimeError(f"no decision of the map for {cell} within {DEADLINE_S:g} s")


async def load(names: int) -> tuple[float, float]:
    """Return how long a fresh Envoy takes to have all names, in seconds, and its memory in MiB.

    The memory is what it has more than an Envoy whose map is still empty.
    """
    directory = scratch()
    try:
        url = await asyncio.to_thread(filled, directory, names)
        settings = plane_settings(directory, database_url=url, edge_module="on")
        async with running(settings) as plane:
            module = await asyncio.to_thread(local_module, "on")
            await asyncio.to_thread(activate, plane.topology, "generic")
            bootstrap = local_bootstrap(settings, plane, module)
            # The first one has the control plane build its base.
            await _loaded(Envoy(bootstrap, directory / "first", modules=module.directory), names)
            return await _loaded(
                Envoy(bootstrap, directory / "second", modules=module.directory), names
            )
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _loaded(envoy: Envoy, names: int) -> tuple[float, float]:
    began = time.perf_counter()
    admin = EnvoyAdmin(await envoy.start())
    try:
        empty = _resident_mib(pid(envoy))
        async with asyncio.timeout(LOAD_S):
            # Envoy does not tell when its map is whole.
            while await admin.counter(NAMES) < names:  # noqa: ASYNC110
                await asyncio.sleep(POLL_S)
        return time.perf_counter() - began, _resident_mib(pid(envoy)) - empty
    finally:
        await envoy.stop()


def _resident_mib(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


async def main(number: int, names: int) -> None:
    """Measure and report."""
    taken = [seconds * 1000 for seconds in await moves(number)]
    middle = sorted(taken)[len(taken) // 2]
    report(
        {
            "owner_change_p50_ms": Figure(middle, "ms", "lower", "", number),
            "owner_change_p99_ms": Figure(p99(taken), "ms", "lower", "", number),
        }
    )
    seconds, memory = await load(names)
    size = "10m" if names == FULL_NAMES else str(names)
    report(
        {
            f"map_load_{size}_s": Figure(seconds, "s", "lower", "", 1),
            f"map_load_{size}_memory_mib": Figure(memory, "MiB", "lower", "", 1),
        }
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moves", type=int, default=300)
    parser.add_argument("--names", type=int, default=FULL_NAMES)
    options = parser.parse_args()
    run_loop(main(options.moves, options.names))
