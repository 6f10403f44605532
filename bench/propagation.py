"""How fast a change arrives: commit → ACK, and commit → first request at the new cell.

    python -m bench.propagation [--changes N]

The change moves every anonymous request from one cell to the other, so that it can be seen. Cells
and client are processes of their own, as they would be: in the control plane's they would fight
with it for Python's lock.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import shutil
import socket
import statistics
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

from bench.load import scratch
from bench.results import Figure, report
from bench.world import cellway, upstream
from control_plane.process.event_loop import run_loop
from control_plane.server import Running
from control_plane.topology.values.cell import CellSpec, CellState
from control_plane.topology.values.endpoint import Endpoint

DEADLINE_S = 5.0
BODIES = (b"old", b"new")
SETTLE_S = 0.02
"""After a change, until the next."""


async def measure(cells: int, changes: int) -> tuple[list[float], list[float]]:
    """Seconds from commit to ACK, and from commit to the first request that is answered anew."""
    directory = scratch()
    try:
        with upstream(BODIES[0]) as old, upstream(BODIES[1]) as new:
            async with cellway(directory, old, cells, "passthrough") as (plane, edge):
                with _watcher(edge) as watcher:
                    return await _changes(plane, watcher, (old, new), changes)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _changes(
    plane: Running, watcher: Connection, ports: tuple[int, int], changes: int
) -> tuple[list[float], list[float]]:
    acked: list[float] = []
    seen: list[float] = []
    loop = asyncio.get_running_loop()
    for number in range(1, changes + 1):
        wanted = number % 2
        committed: asyncio.Future[float] = loop.create_future()

        def noted(_: int, future: asyncio.Future[float] = committed) -> None:
            now = time.perf_counter()
            loop.call_soon_threadsafe(settle, future, now)

        stop = plane.topology.subscribe(noted)
        watcher.send(BODIES[wanted])
        await asyncio.sleep(SETTLE_S)
        written = await asyncio.to_thread(_point_at, plane, ports[wanted])
        lacking = await plane.fleet.wait(written, DEADLINE_S)
        now = time.perf_counter()
        if lacking:
            raise RuntimeError(f"not acknowledged by {lacking}")
        stop()
        at = await committed
        acked.append(now - at)
        seen.append(await asyncio.to_thread(watcher.recv) - at)
    return acked, seen


def settle(future: asyncio.Future[float], value: float) -> None:
    """Give a future its value, if it has none yet."""
    if not future.done():
        future.set_result(value)


def _point_at(plane: Running, port: int) -> int:
    spec = CellSpec(
        "cell-1",
        "cell-1.example.com",
        (Endpoint("127.0.0.1", port),),
        session_prefix="cell-1",
        state=CellState.ACTIVE,
    )
    return plane.topology.cells.replace("cell-1", spec, actor="bench").revision


@contextlib.contextmanager
def _watcher(edge: int) -> Iterator[Connection]:
    """A client that is connected; it is sent a body, and answers when that first came back.

    All processes of a machine have one clock.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_watch, args=(theirs, edge), daemon=True)
    process.start()
    theirs.close()
    try:
        ours.recv()
        yield ours
    finally:
        ours.close()
        process.join()


def _watch(told: Connection, edge: int) -> None:
    with socket.create_connection(("127.0.0.1", edge), DEADLINE_S) as client:
        told.send(None)
        while True:
            try:
                wanted: bytes = told.recv()
            except EOFError:
                return
            told.send(_first_answer(client, wanted))


def _first_answer(client: socket.socket, wanted: bytes) -> float:
    """Ask again and again, bounded, until this body comes back; the time of that."""
    deadline = time.perf_counter() + DEADLINE_S
    while time.perf_counter() < deadline:
        client.sendall(b"GET / HTTP/1.1\r\nhost: bench\r\n\r\n")
        answer = b""
        while not answer.endswith(BODIES):
            part = client.recv(65536)
            if not part:
                raise RuntimeError(f"the edge has closed the connection: {answer!r}")
            answer += part
        if answer.endswith(wanted):
            return time.perf_counter()
    raise RuntimeError(f"{wanted!r} never came back")


async def main(changes: int) -> None:
    """Measure at 10 and 1,000 cells."""
    figures: dict[str, Figure] = {}
    for cells in (10, 1000):
        acked, seen = await measure(cells, changes)
        for name, values in (("commit_to_ack", acked), ("commit_to_request", seen)):
            ordered = sorted(value * 1000 for value in values)
            p99 = ordered[min(len(ordered) - 1, round(len(ordered) * 0.99))]
            base = f"{name}_{cells}_cells"
            median = statistics.median(ordered)
            figures[f"{base}_p50_ms"] = Figure(median, "ms", "lower", "", changes)
            figures[f"{base}_p99_ms"] = Figure(p99, "ms", "lower", "", changes)
    report(figures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=50)
    run_loop(main(parser.parse_args().changes))
