"""One classifier process: it serves ext_authz over HTTP on a socket that the server has opened.

It reads the database itself, so it goes on deciding while the control plane is dead. It imports
nothing of the server, which makes it small and quick to start again after it has died.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, values

from control_plane.classifier.authentication import Authentication
from control_plane.classifier.cache.tiered import open_cached_lookup
from control_plane.classifier.decide import Decider
from control_plane.classifier.http import ClassifierServer
from control_plane.classifier.metrics import ClassifierMetrics
from control_plane.classifier.options import VARIABLE, PortOptions
from control_plane.classifier.worker.directory import beat
from control_plane.foreign_text import log_to_stderr
from control_plane.process.event_loop import run_loop, until_signal
from control_plane.topology import Topology

BEAT_S = 1.0
"""How often a worker shows that it is at work."""


async def work(
    sock: socket.socket,
    database_url: str,
    redis_url: str | None = None,
    options: PortOptions | None = None,
    at_work: Callable[[], None] = lambda: None,
) -> None:
    """Serve on a listening socket until a signal comes; call ``at_work`` every `BEAT_S`."""
    topology = Topology.open(database_url, migrate_first=False)
    decider = Decider(topology)
    metrics = ClassifierMetrics(CollectorRegistry())
    lookup = open_cached_lookup(topology, metrics, redis_url)
    options = options or PortOptions()
    read = topology.edge_secrets.read
    authentication = Authentication(read, metrics, demanded=options.secret_demanded)
    server = ClassifierServer(decider, metrics, authentication, lookup, options)
    tasks = [asyncio.create_task(server.run(sock)), asyncio.create_task(_beat(at_work))]
    try:
        await until_signal()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if lookup is not None:
            await lookup.close()
        metrics.flush()
        decider.close()
        topology.close()


async def _beat(at_work: Callable[[], None]) -> None:
    while True:
        with contextlib.suppress(OSError):  # on a full disk it looks as if it hung, and goes on
            at_work()
        await asyncio.sleep(BEAT_S)


def main() -> None:
    """``python -m control_plane.classifier.worker.main FD SLOT``.

    FD is the number of the inherited listening socket. SLOT numbers the server's workers from 0.
    Counts are stored by slot, so the next process in a slot goes on counting where the last one
    ended. The environment has

    - CELLWAY_DATABASE_URL;
    - CELLWAY_REDIS_URL, if there is a Redis;
    - CELLWAY_CLASSIFIER_OPTIONS, if they are not the usual ones (see `PortOptions`);
    - PROMETHEUS_MULTIPROC_DIR, where the counts go, and the sign that it is at work.
    """
    log_to_stderr(logging.WARNING)
    slot = int(sys.argv[2])
    values.ValueClass = values.MultiProcessValue(process_identifier=lambda: slot)  # type: ignore[no-untyped-call]
    sock = socket.socket(fileno=int(sys.argv[1]))
    urls = os.environ["CELLWAY_DATABASE_URL"], os.environ.get("CELLWAY_REDIS_URL")
    options = PortOptions.from_text(os.environ.get(VARIABLE, "{}"))
    directory = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    run_loop(work(sock, *urls, options, partial(beat, directory, slot)))


if __name__ == "__main__":
    main()
