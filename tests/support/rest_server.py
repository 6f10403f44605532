"""The REST API over a database of its own, in a thread, without xDS and Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx

from control_plane.api.app import create_app
from control_plane.process.embedded_server import embedded, run
from control_plane.process.listening import bind, port_of
from control_plane.topology import Topology
from control_plane.xds.fleet.fleet import Fleet
from tests.support.loop_thread import LoopThread

CELL = {
    "name": "cell-1",
    "address": "cell-1.example.com",
    "endpoints": ["10.0.0.1:443"],
    "session_prefix": "cell-1",
    "state": "active",
}
RULESET = {"name": "r", "rules": [{"id": "all", "action": "proxy", "on_cell_down": 503}]}


class RestServer(LoopThread):
    """A real server on a free port; used with `with`."""

    def __init__(self, path: Path, token: str | None = None) -> None:
        super().__init__()
        self._database_url = f"sqlite:///{path}/api.db"
        self._token = token
        self.url = ""

    @contextlib.asynccontextmanager
    async def lives(self) -> AsyncIterator[None]:
        topology = Topology.open(self._database_url)
        # Its fleet has no Envoys, and takes every revision for published.
        fleet = Fleet()
        fleet.publication.published(sys.maxsize)
        app = create_app(
            topology,
            fleet,
            metrics=_no_metrics,
            alarm=lambda: None,
            token=self._token,
            server="rest",
        )
        sock = bind("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{port_of(sock)}"
        task = asyncio.create_task(run(embedded(app), sock))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            topology.close()


async def _no_metrics() -> bytes:
    return b"# none\n"


@contextlib.contextmanager
def serving(path: Path, token: str | None = None) -> Iterator[httpx.Client]:
    """Run a server over a database in a folder; yield a client of it."""
    with (
        RestServer(path, token) as server,
        httpx.Client(base_url=server.url, trust_env=False) as client,
    ):
        yield client
