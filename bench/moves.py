"""Measures how long a moved tenant's requests still go to its old cell.

    python -m bench.moves [--moves N]

A client keeps asking for one tenant through the edge cache of a real Envoy, over several
connections, while the tenant moves from cell to cell. What counts is the time from the commit of a
move to the last request that the old cell received, or 0 if it received none after the commit:
`move_p50_ms` and `move_p99_ms`. The cells are one process with two ports; the client is another.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import re
import shutil
import socket
import statistics
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing.connection import Connection
from typing import cast

from bench.load import RETRY_S, scratch
from bench.results import Figure, p99, report
from bench.world import cellway
from control_plane.process.event_loop import run_loop
from control_plane.process.listening import bind, port_of
from control_plane.server import Running
from control_plane.topology import Subject
from control_plane.topology.values.claim import ClaimSpec

CELLS = ("cell-1", "cell-2")
CONNECTIONS = 4
SETTLE_S = 0.1
"""Between two moves: far longer than any request may go astray."""
START_S = 60.0
"""How long the client's process may take to its first request."""
DEADLINE_S = 60.0
"""How long a new cell may not be asked; on a quiet machine it takes milliseconds."""
MAX_MOVES = 2000
_REQUEST = b"GET /t/mover/x HTTP/1.1\r\nhost: bench\r\n\r\n"
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class _Cell(asyncio.Protocol):
    """Records when it was last asked, by the monotonic clock that all processes share."""

    def __init__(self, name: str, last: dict[str, float]) -> None:
        self._name = name
        self._last = last

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._last[self._name] = time.monotonic()
        self._transport.write(_ANSWER * data.count(b"\r\n\r\n"))


def _cells(pipe: Connection, socks: list[socket.socket]) -> None:
    """Serve the cells; answer each message with the times at which each was last asked."""

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        last = dict.fromkeys(CELLS, 0.0)
        for name, sock in zip(CELLS, socks, strict=True):

            def cell(name: str = name) -> _Cell:
                return _Cell(name, last)

            await loop.create_server(cell, sock=sock)
        stopped = asyncio.Event()

        def asked() -> None:
            try:
                pipe.recv()
            except EOFError:
                stopped.set()
            else:
                pipe.send(dict(last))

        loop.add_reader(pipe.fileno(), asked)
        await stopped.wait()

    run_loop(serve())


def _client(port: int, seconds: float) -> None:
    """Ask again and again, for at most so many seconds.

    What fails is asked again: it never reached the old cell, so it makes no figure better.
    """

    async def ask() -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await connection()
            await asyncio.sleep(RETRY_S)

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.closing(writer):
            while True:
                writer.write(_REQUEST)
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                await reader.readexactly(int(length[1]) if length else 0)

    async def together() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                for _ in range(CONNECTIONS):
                    group.create_task(ask())

    run_loop(together())


@contextlib.contextmanager
def _processes() -> Iterator[tuple[list[int], Connection, multiprocessing.context.SpawnContext]]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    socks = [bind("127.0.0.1", 0) for _ in CELLS]
    cells = context.Process(target=_cells, args=(theirs, socks), daemon=True)
    cells.start()
    theirs.close()
    try:
        yield [port_of(sock) for sock in socks], ours, context
    finally:
        ours.close()
        cells.join()
        for sock in socks:
            sock.close()


async def measure(moves: int) -> list[float]:
    """Return the seconds from each commit until the old cell was asked for the last time."""
    directory = scratch()
    try:
        with _processes() as (ports, cells, context):
            async with cellway(directory, ports, len(CELLS), "generic") as (plane, edge):
                claim = ClaimSpec("tenant", "mover", CELLS[0], "mover")
                plane.topology.claims.claim([claim], actor="bench")
                most = moves * (SETTLE_S + DEADLINE_S)
                client = context.Process(target=_client, args=(edge, most), daemon=True)
                client.start()
                try:
                    return await _moves(plane, cells, moves)
                finally:
                    client.terminate()
                    client.join()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _moves(plane: Running, cells: Connection, moves: int) -> list[float]:
    late: list[float] = []
    await _asked(cells, CELLS[0], 0.0, START_S)
    for number in range(moves):
        old, new = CELLS[number % 2], CELLS[(number + 1) % 2]
        committed: list[float] = []
        stop = plane.topology.subscribe(partial(_note, committed))
        subject = Subject(text="mover")
        await asyncio.to_thread(
            plane.topology.moves.move, subject, old, new, reason="bench", actor="bench"
        )
        stop()
        await _asked(cells, new, committed[0])
        await asyncio.sleep(SETTLE_S)
        last = await asyncio.to_thread(_last, cells)
        late.append(max(0.0, last[old] - committed[0]))
    return late


def _note(committed: list[float], _: int) -> None:
    committed.append(time.monotonic())


async def _asked(cells: Connection, name: str, after: float, within_s: float = DEADLINE_S) -> None:
    """Wait until a cell has been asked after a moment; raise TimeoutError after ``within_s``."""
    async with asyncio.timeout(within_s):
        while (await asyncio.to_thread(_last, cells))[name] <= after:  # noqa: ASYNC110 - asks a process
            await asyncio.sleep(0.002)


def _last(cells: Connection) -> dict[str, float]:
    cells.send(None)
    times: dict[str, float] = cells.recv()
    return times


async def main(moves: int) -> None:
    """Measure and report."""
    late_ms = [1000 * late for late in await measure(min(moves, MAX_MOVES))]
    figures = {"move_p50_ms": statistics.median(late_ms), "move_p99_ms": p99(late_ms)}
    report({name: Figure(value, "ms", "lower", "", moves) for name, value in figures.items()})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moves", type=int, default=200)
    run_loop(main(parser.parse_args().moves))
