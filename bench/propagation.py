"""Measures how fast a change arrives: commit → ACK, and commit → first request answered anew.

    python -m bench.propagation [--changes N]

Each change moves every anonymous request from one server to another, so that the client sees it.
Servers and client are processes of their own: in the control plane's process they would compete
with it for Python's lock.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import socket
import statistics
import time
from multiprocessing.connection import Connection

from bench.commits import commit_time
from bench.load import scratch
from bench.results import Figure, p99, report
from bench.topologies import ACTOR, cell_spec
from bench.watcher import DEADLINE_S, watching
from bench.world import cellway, upstream
from control_plane.process.event_loop import run_loop
from control_plane.server import Running

BODIES = ("old", "new")
_ENDS = tuple(body.encode() for body in BODIES)
SETTLE_S = 0.02
"""Between two changes."""


async def measure(cells: int, changes: int) -> tuple[list[float], list[float]]:
    """Return the seconds from commit to ACK, and from commit to the first request answered anew."""
    directory = scratch()
    try:
        with upstream(BODIES[0].encode()) as old, upstream(BODIES[1].encode()) as new:
            async with cellway(directory, old, cells, "passthrough") as (plane, edge):
                with watching(_first_answer, edge) as watcher:
                    return await _changes(plane, watcher, (old, new), changes)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _changes(
    plane: Running, watcher: Connection, ports: tuple[int, int], changes: int
) -> tuple[list[float], list[float]]:
    acked: list[float] = []
    answered: list[float] = []
    for number in range(1, changes + 1):
        wanted = number % 2
        with commit_time(plane.topology) as committed:
            watcher.send(BODIES[wanted])
            await asyncio.sleep(SETTLE_S)
            written = await asyncio.to_thread(_point_at, plane, ports[wanted])
            lacking = await plane.fleet.wait(written, DEADLINE_S)
            now = time.perf_counter()
        if lacking:
            raise RuntimeError(f"not acknowledged by {lacking}")
        at = await committed
        acked.append(now - at)
        answered.append(await asyncio.to_thread(watcher.recv) - at)
    return acked, answered


def _point_at(plane: Running, port: int) -> int:
    """Move the first cell to a port; return the revision."""
    return plane.topology.cells.replace("cell-1", cell_spec(1, port), actor=ACTOR).revision


def _first_answer(client: socket.socket, wanted: str) -> float:
    """Ask again and again until this body comes back; return the time at which it did.

    Raises:
        RuntimeError: it did not come back within `DEADLINE_S`.
    """
    deadline = time.perf_counter() + DEADLINE_S
    while time.perf_counter() < deadline:
        client.sendall(b"GET / HTTP/1.1\r\nhost: bench\r\n\r\n")
        answer = b""
        while not answer.endswith(_ENDS):
            part = client.recv(65536)
            if not part:
                raise RuntimeError(f"the edge has closed the connection: {answer!r}")
            answer += part
        if answer.endswith(wanted.encode()):
            return time.perf_counter()
    raise RuntimeError(f"{wanted!r} never came back")


async def main(changes: int) -> None:
    """Measure at 10 and 1,000 cells."""
    for cells in (10, 1000):
        figures: dict[str, Figure] = {}
        acked, answered = await measure(cells, changes)
        for name, values in (("commit_to_ack", acked), ("commit_to_request", answered)):
            ms = [value * 1000 for value in values]
            base = f"{name}_{cells}_cells"
            median = statistics.median(ms)
            figures[f"{base}_p50_ms"] = Figure(median, "ms", "lower", "", changes)
            figures[f"{base}_p99_ms"] = Figure(p99(ms), "ms", "lower", "", changes)
        report(figures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=50)
    run_loop(main(parser.parse_args().changes))
