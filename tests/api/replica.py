"""The REST API over a database that others share, without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from control_plane.api.app import create_app
from control_plane.topology import Topology
from control_plane.xds.fleet.fleet import Fleet


@asynccontextmanager
async def replica(url: str) -> AsyncIterator[tuple[Topology, httpx.AsyncClient]]:
    """Open a topology and its API; yield it and a client of the API."""
    topology = Topology.open(url)
    app = create_app(topology, Fleet(), metrics=_no_metrics, alarm=lambda: None)
    transport = httpx.ASGITransport(app)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://r") as client:
            yield topology, client
    finally:
        await app.state.operations.close()
        topology.close()


async def _no_metrics() -> bytes:
    return b""
