"""A client in a process of its own that tells when it first saw something."""

from __future__ import annotations

import multiprocessing
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

DEADLINE_S = 60.0
"""How long an answer may take; on a quiet machine it takes milliseconds."""

First = Callable[[socket.socket, str], float]
"""Asks over a connection until it sees what a word says; returns the time by `time.perf_counter`,
which all processes of a machine share."""


@contextmanager
def watching(first: First, edge: int) -> Iterator[Connection]:
    """Run a client that is connected to an edge, by its port.

    It is sent words, and answers each with the time that ``first`` returns for it.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_watch, args=(first, theirs, edge), daemon=True)
    process.start()
    theirs.close()
    try:
        ours.recv()
        yield ours
    finally:
        ours.close()
        process.join()


def _watch(first: First, pipe: Connection, edge: int) -> None:
    with socket.create_connection(("127.0.0.1", edge), DEADLINE_S) as client:
        pipe.send(None)
        while True:
            try:
                word: str = pipe.recv()
            except EOFError:
                return
            pipe.send(first(client, word))
