"""A server in a process of its own, and the processor time that it uses."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from control_plane.process.event_loop import run_loop, until_signal
from control_plane.server import running
from control_plane.settings import Settings

Serve = Callable[[Connection, str], Coroutine[Any, Any, None]]
"""Serves a database, by its URL, until SIGTERM comes; sends its port through the connection."""


async def serve_grpc(pipe: Connection, url: str) -> None:
    """Run a control plane with all roles; send its gRPC port."""
    async with running(_settings(url)) as plane:
        pipe.send(plane.ports.grpc)
        await until_signal()


async def serve_api(pipe: Connection, url: str) -> None:
    """Run a control plane with all roles; send its API's port."""
    async with running(_settings(url)) as plane:
        pipe.send(plane.ports.api)
        await until_signal()


def _settings(url: str) -> Settings:
    return Settings(
        database_url=url, api_port=0, grpc_port=0, classifier_port=0, health_interval_s=0
    )


@contextmanager
def spawned(target: Callable[..., None], *arguments: Any) -> Iterator[tuple[int, Connection]]:
    """Run a function in a process of its own; yield its process id, and a connection to it.

    Its first argument is the other end of the connection.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=target, args=(theirs, *arguments), daemon=True)
    child.start()
    theirs.close()
    try:
        assert child.pid is not None
        yield child.pid, ours
    finally:
        child.terminate()
        child.join()


def _run(pipe: Connection, serve: Serve, url: str) -> None:
    run_loop(serve(pipe, url))


@contextmanager
def process(serve: Serve, url: str) -> Iterator[tuple[int, int]]:
    """Run a server in a process of its own; yield its process id and port."""
    with spawned(_run, serve, url) as (pid, pipe):
        yield pid, pipe.recv()


def processor_seconds(pid: int) -> float:
    """Return the user and system time of a process so far."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
