"""Measures what a question over HTTP costs the classifier, in processor time of its process.

    python -m bench.classifier [--rounds N] [--seconds S] [--profile FILE]

The real worker process answers questions about `TENANTS` claims in random order, as Envoy's
ext_authz asks them, from SQLite. The baseline is an ASGI app on uvicorn that answers the same
requests with nothing. The benchmark compares processor time a request (of all threads, as the
kernel's scheduler counts it), which other programs disturb less than requests per second.

On PostgreSQL it compares what a question costs that the table of owners answers with one that the
process's cache answers, and with one that goes to the database.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import uvicorn

from bench.load import Load, count
from bench.results import Figure, report
from bench.topologies import DURABLE, NOWHERE, activate, add_cells, add_tenants, opened
from control_plane.names import EDGE_SECRET_HEADER
from control_plane.owners.mapped.writer import SharedOwners
from control_plane.owners.source.builder import BaseBuilder
from control_plane.owners.source.feed import OwnersFeed
from control_plane.process.event_loop import run_loop
from control_plane.process.listening import bind, port_of
from tests.support.postgres import postgres

TENANTS = 20_000
CELLS = 10
START_S = 30.0
KNOWN = "x-cellway-known: 1"
"""An edge's cache asks, and may be answered from caches."""
_HEADERS = ("content-length: 0", "x-envoy-internal: true", "x-forwarded-for: 127.0.0.1")
"""What Envoy's ext_authz sends beside the client's method and path, and the edges' secret."""


def fill(url: str) -> str:
    """Fill a database with cells, a claim for each tenant, and a ruleset.

    Returns:
        The header by which an edge asks.
    """
    with opened(url) as topology:
        add_cells(topology, [NOWHERE] * CELLS)
        tenants = [f"tenant-{number}" for number in range(TENANTS)]
        add_tenants(topology, "tenant", tenants, CELLS)
        activate(topology, "generic")
        return f"{EDGE_SECRET_HEADER}: {topology.edge_secrets.read().current}"


@contextlib.contextmanager
def worker(url: str, directory: Path, *profile: str) -> Iterator[tuple[int, int]]:
    """Run a classifier process; yield its process id and port."""
    sock = bind("127.0.0.1", 0)
    environment = os.environ | {
        "CELLWAY_DATABASE_URL": url,
        "PROMETHEUS_MULTIPROC_DIR": str(directory),
    }
    command = [sys.executable, *profile, "-m", "control_plane.classifier.worker.main"]
    with subprocess.Popen(
        [*command, str(sock.fileno()), "0"], pass_fds=(sock.fileno(),), env=environment
    ) as process:
        try:
            yield process.pid, port_of(sock)
        finally:
            process.terminate()
            process.wait()
            sock.close()


async def _nothing(_: Any, __: Any, send: Any) -> None:
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _serve_nothing(sock: socket.socket) -> None:
    config = uvicorn.Config(
        _nothing, log_level="warning", access_log=False, lifespan="off", ws="none", loop="uvloop"
    )
    run_loop(uvicorn.Server(config).serve(sockets=[sock]))


@contextlib.contextmanager
def empty_server() -> Iterator[tuple[int, int]]:
    """Run the baseline; yield its process id and port."""
    sock = bind("127.0.0.1", 0)
    process = multiprocessing.get_context("fork").Process(target=_serve_nothing, args=(sock,))
    process.start()
    try:
        assert process.pid is not None
        yield process.pid, port_of(sock)
    finally:
        process.terminate()
        process.join()
        sock.close()


def _ready(port: int, secret: str) -> None:
    """Wait until a server answers; raise TimeoutError after `START_S`."""
    with socket.create_connection(("127.0.0.1", port), START_S) as sock:
        sock.sendall(f"GET / HTTP/1.1\r\nhost: ready\r\n{secret}\r\n\r\n".encode())
        sock.recv(1)


def processor_ns(pid: int) -> int:
    """Return the processor time so far of a process's threads that live, in nanoseconds."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def microseconds(
    pid: int, port: int, paths: Sequence[str], secret: str, seconds: float, *more: str
) -> float:
    """Return a server's processor time a request, under the load of several connections."""
    headers = [tuple(header.split(": ", 1)) for header in (*_HEADERS, secret, *more)]
    load = Load(port, tuple(paths), tuple((name, value) for name, value in headers))
    before = processor_ns(pid)
    counts = count(load, seconds)
    return (processor_ns(pid) - before) / 1000 / (counts.good + counts.bad)


async def _share(url: str, directory: Path) -> None:
    """Share the table of owners once, as a server does all the time."""
    with opened(url) as topology:
        feed = OwnersFeed(topology, BaseBuilder(topology, directory))
        shared = SharedOwners(directory, feed.journal)
        feed.share(shared)
        for _ in range(2):
            while await feed.step():
                pass
            await shared.close()
        await feed.step()


def table_figures(rounds: int, seconds: float, paths: Sequence[str]) -> dict[str, Figure]:
    """Compare a question to the table of owners with one to a warm cache, and to PostgreSQL."""
    took: dict[str, list[float]] = {"table": [], "cache": [], "database": []}
    with contextlib.ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)]
        url = stack.enter_context(postgres(DURABLE)).url()
        secret = fill(url)
        run_loop(_share(url, folders[0]))
        # Both are started now: for a minute, a table counts that nobody keeps current.
        with_table, without = (stack.enter_context(worker(url, one)) for one in folders)
        ways = {
            "table": (with_table, (KNOWN,)),
            "cache": (without, (KNOWN,)),
            "database": (without, ()),
        }
        for (pid, port), more in ways.values():
            _ready(port, secret)
            microseconds(pid, port, paths, secret, 2 * seconds, *more)
        for _ in range(rounds):
            for name, ((pid, port), more) in ways.items():
                took[name].append(microseconds(pid, port, paths, secret, seconds, *more))
    middle = {name: statistics.median(values) for name, values in took.items()}
    print(", ".join(f"{name}: {value:.1f} µs a question" for name, value in middle.items()))
    pairs = {name: list(zip(took["table"], took[name], strict=True)) for name in took}
    ratios = {name: statistics.median(b / a for a, b in both) for name, both in pairs.items()}
    return {
        "classifier_table_vs_database": Figure(
            ratios["database"], "ratio", "higher", "a question that goes to PostgreSQL", rounds
        ),
        "classifier_table_vs_cache": Figure(
            ratios["cache"], "ratio", "higher", "a question that a warm cache answers", rounds
        ),
    }


def main(rounds: int, seconds: float, profile: str | None = None) -> None:
    """Measure and report all figures of this module."""
    paths = [f"/t/tenant-{number}/x" for number in range(TENANTS)]
    random.Random(5).shuffle(paths)
    ours: list[float] = []
    base: list[float] = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = f"sqlite:///{folder}/classifier.db"
        secret = fill(url)
        flags = ("-m", "cProfile", "-o", profile) if profile else ()
        us = stack.enter_context(worker(url, folder, *flags))
        empty = stack.enter_context(empty_server())
        for one in (us, empty):
            _ready(one[1], secret)
            microseconds(*one, paths, secret, 1)
        for _ in range(rounds):
            ours.append(microseconds(*us, paths, secret, seconds))
            base.append(microseconds(*empty, paths, secret, seconds))
    ratio = statistics.median(b / o for o, b in zip(ours, base, strict=True))
    print(
        f"classifier: {statistics.median(ours):.1f} µs a question, "
        f"an empty ASGI answer {statistics.median(base):.1f} µs"
    )
    baseline = "an empty ASGI app on uvicorn, per processor second"
    figures = {"classifier_vs_empty_http": Figure(ratio, "ratio", "higher", baseline, rounds)}
    report(figures | table_figures(min(rounds, 10), min(seconds, 1.0), paths))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--profile", help="write cProfile's figures of the worker here")
    chosen = parser.parse_args()
    main(chosen.rounds, chosen.seconds, chosen.profile)
