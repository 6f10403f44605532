"""Measures what a question over HTTP costs the classifier, in processor time of its process.

    python -m bench.classifier [--rounds N] [--seconds S] [--profile FILE]

The real worker process answers questions about `TENANTS` claims in random order, as Envoy's
ext_authz asks them, from SQLite. The baseline is an ASGI app on uvicorn that answers the same
requests with nothing. The benchmark compares processor time a request (of all threads, as the
kernel's scheduler counts it), which other programs disturb less than requests per second.
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
from bench.topologies import NOWHERE, activate, add_cells, add_tenants, opened
from control_plane.names import EDGE_SECRET_HEADER
from control_plane.process.event_loop import run_loop
from control_plane.process.listening import bind, port_of

TENANTS = 20_000
CELLS = 10
START_S = 30.0
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


def microseconds(pid: int, port: int, paths: Sequence[str], secret: str, seconds: float) -> float:
    """Return a server's processor time a request, under the load of several connections."""
    headers = [tuple(header.split(": ", 1)) for header in (*_HEADERS, secret)]
    load = Load(port, tuple(paths), tuple((name, value) for name, value in headers))
    before = processor_ns(pid)
    counts = count(load, seconds)
    return (processor_ns(pid) - before) / 1000 / (counts.good + counts.bad)


def main(rounds: int, seconds: float, profile: str | None = None) -> None:
    """Measure and report ``classifier_vs_empty_http``."""
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
    report({"classifier_vs_empty_http": Figure(ratio, "ratio", "higher", baseline, rounds)})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--profile", help="write cProfile's figures of the worker here")
    chosen = parser.parse_args()
    main(chosen.rounds, chosen.seconds, chosen.profile)
