"""How fast a change arrives: commit → ACK, and commit → first request at the new cell.

    python -m bench.propagation [--changes N]

The change moves every anonymous request from one cell to the other, so that it can be seen.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import time

from bench.load import scratch
from bench.results import Figure, report
from bench.world import cellway
from control_plane.example_cell import cell_app
from control_plane.listening import bind, embedded, port_of, run
from control_plane.server import Running, run_loop
from control_plane.topology.model import CellSpec, CellState, Endpoint

DEADLINE_S = 5.0


async def measure(cells: int, changes: int) -> tuple[list[float], list[float]]:
    """Seconds from commit to ACK, and from commit to the first request that is answered anew."""
    directory = scratch()
    servers = {name: bind("127.0.0.1", 0) for name in ("old", "new")}
    tasks = [
        asyncio.create_task(run(embedded(cell_app(name)), sock)) for name, sock in servers.items()
    ]
    try:
        ports = {name: port_of(sock) for name, sock in servers.items()}
        async with cellway(directory, ports["old"], cells, "passthrough") as (plane, edge):
            return await _changes(plane, edge, ports, changes)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        shutil.rmtree(directory, ignore_errors=True)


async def _changes(
    plane: Running, edge: int, ports: dict[str, int], changes: int
) -> tuple[list[float], list[float]]:
    acked: list[float] = []
    seen: list[float] = []
    loop = asyncio.get_running_loop()
    for number in range(changes):
        wanted = "new" if number % 2 == 0 else "old"
        committed: asyncio.Future[float] = loop.create_future()

        def noted(_: int, future: asyncio.Future[float] = committed) -> None:
            now = time.perf_counter()
            loop.call_soon_threadsafe(settle, future, now)

        stop = plane.topology.subscribe(noted)
        watching = asyncio.create_task(_first_answer(edge, wanted))
        await asyncio.sleep(0.02)
        written = await asyncio.to_thread(_point_at, plane, ports[wanted])
        lacking = await plane.fleet.wait(written, DEADLINE_S)
        if lacking:
            raise RuntimeError(f"not acknowledged by {lacking}")
        now = time.perf_counter()
        stop()
        at = await committed
        acked.append(now - at)
        seen.append(await watching - at)
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
    return plane.topology.update_cell("cell-1", spec, actor="bench").revision


async def _first_answer(edge: int, wanted: str) -> float:
    """Ask again and again, bounded, until this server answers; the time of that."""
    reader, writer = await asyncio.open_connection("127.0.0.1", edge)
    deadline = time.perf_counter() + DEADLINE_S
    try:
        while time.perf_counter() < deadline:
            writer.write(b"GET / HTTP/1.1\r\nhost: bench\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            await reader.readexactly(length)
            if f"x-example-cell: {wanted}".encode() in head.lower():
                return time.perf_counter()
    finally:
        writer.close()
    raise RuntimeError(f"{wanted} never answered")


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
