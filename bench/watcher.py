"""A client in a process of its own that tells when it first saw something."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

Watch = Callable[[Connection, int], None]
"""Watches an edge, by its port. It sends once when it is connected. Then for each message, which
says what to look for, it sends the time by `time.perf_counter`, which all processes share."""


@contextmanager
def watching(watch: Watch, edge: int) -> Iterator[Connection]:
    """Run a client; yield the connection to it once it is connected to the edge."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=watch, args=(theirs, edge), daemon=True)
    process.start()
    theirs.close()
    try:
        ours.recv()
        yield ours
    finally:
        ours.close()
        process.join()
