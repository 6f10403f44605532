"""One classifier process: serves ext_authz over HTTP on a socket that the server opened.

It reads the database itself, so that it goes on deciding while the control plane is dead.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time

from control_plane.classifier.http import http_app
from control_plane.classifier.view import LiveView
from control_plane.listening import embedded, run
from control_plane.metrics import Metrics
from control_plane.server import run_loop, until_signal
from control_plane.topology.service import Topology


async def work(sock: socket.socket, database_url: str) -> None:
    """Serve until a signal comes."""
    topology = Topology.open(database_url, migrate_first=False)
    view = LiveView(topology)
    serving = asyncio.create_task(run(embedded(http_app(view, Metrics(time.monotonic))), sock))
    try:
        await until_signal()
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        view.close()
        topology.close()


def main() -> None:
    """``python -m control_plane.classifier_worker FD DATABASE_URL``."""
    logging.basicConfig(level=logging.WARNING)
    run_loop(work(socket.socket(fileno=int(sys.argv[1])), sys.argv[2]))


if __name__ == "__main__":
    main()
