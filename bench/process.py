"""A server in a process of its own, and the processor time that it uses."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from control_plane.process.event_loop import run_loop

Serve = Callable[[Connection, str], Coroutine[Any, Any, None]]
"""Serves a database, by its URL, until SIGTERM comes; tells its port through the connection."""


def _run(serve: Serve, told: Connection, url: str) -> None:
    run_loop(serve(told, url))


@contextmanager
def process(serve: Serve, url: str) -> Iterator[tuple[int, int]]:
    """Run a server in a process of its own; yields its process id and port."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_run, args=(serve, theirs, url), daemon=True)
    child.start()
    theirs.close()
    try:
        assert child.pid is not None
        yield child.pid, ours.recv()
    finally:
        child.terminate()
        child.join()


def processor_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
