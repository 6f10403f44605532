"""What benchmarks run against: the whole system, and a bare Envoy beside it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import uvloop

from control_plane.cli.local import LOCAL_NODE, local_bootstrap
from control_plane.process.envoy import Envoy
from control_plane.server import Running, running
from control_plane.settings import Settings
from control_plane.topology import Topology
from control_plane.topology.values.cell import CellSpec, CellState
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.endpoint import Endpoint
from tests.support.ports import unused_port

RULESETS = Path(__file__).parent.parent / "rulesets"
_BATCH = 1000


class _Answer(asyncio.Protocol):
    def __init__(self, body: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\ncontent-type: text/plain\r\n\r\n"
        self._answer = head.encode() + body

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(self._answer * data.count(b"\r\n\r\n"))


def _upstream(told: Connection, body: bytes) -> None:
    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Answer(body), "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


@contextlib.contextmanager
def upstream(body: bytes = b"ok") -> Iterator[int]:
    """The cheapest possible cell, in a process of its own; yields its port."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_upstream, args=(theirs, body), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


@contextlib.asynccontextmanager
async def bare_envoy(target: int, directory: Path) -> AsyncIterator[int]:
    """An Envoy that does nothing but proxy: the baseline; yields its port."""
    port = unused_port()
    document = bare_bootstrap(port, target)
    envoy = Envoy(json.dumps(document), directory / "bare", concurrency=1)
    await envoy.start()
    try:
        yield port
    finally:
        await envoy.stop()


def bare_bootstrap(port: int, target: int) -> dict[str, Any]:
    """A static configuration with one listener, one route and one cluster."""
    types = "type.googleapis.com/envoy.extensions.filters"

    def at(number: int) -> dict[str, Any]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "cell"}}],
                }
            ]
        },
        "http_filters": [
            {
                "name": "router",
                "typed_config": {"@type": f"{types}.http.router.v3.Router"},
            }
        ],
    }
    endpoint = {"endpoint": {"address": at(target)}}
    return {
        "admin": {"address": at(0)},
        "static_resources": {
            "listeners": [
                {
                    "name": "edge",
                    "address": at(port),
                    "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
                }
            ],
            "clusters": [
                {
                    "name": "cell",
                    "type": "STATIC",
                    "load_assignment": {
                        "cluster_name": "cell",
                        "endpoints": [{"lb_endpoints": [endpoint]}],
                    },
                }
            ],
        },
    }


def plane_settings(directory: Path, **settings: Any) -> Settings:
    """A control plane on free ports with its files in a directory; what else is given."""
    given: dict[str, Any] = {
        "database_url": f"sqlite:///{directory}/cellway.db",
        "data_dir": directory,
        "api_port": 0,
        "grpc_port": 0,
        "classifier_port": 0,
        "envoy_admin_port": 0,
        "edge_port": unused_port(),
        "debug_networks": (),
        "health_interval_s": 0,
    }
    return Settings(**(given | settings))


@contextlib.asynccontextmanager
async def cellway(
    directory: Path,
    target: int | Sequence[int],
    cells: int,
    ruleset: str,
    tenants: int = 0,
    **settings: Any,
) -> AsyncIterator[tuple[Running, int]]:
    """The whole system with so many cells behind one upstream, or a port for each.

    Yields it and the edge's port.
    """
    chosen = plane_settings(directory, **settings)
    async with running(chosen) as plane:
        await asyncio.to_thread(fill, plane.topology, target, cells, ruleset, tenants)
        envoy = Envoy(local_bootstrap(chosen, plane), directory / "envoy", concurrency=1)
        await envoy.start()
        try:
            await plane.fleet.joined(LOCAL_NODE, 30)
            lacking = await plane.fleet.wait(plane.topology.revision(), 60)
            if lacking or not plane.fleet.nodes():
                raise RuntimeError(f"the fleet does not come up: {envoy.tail()}")
            yield plane, chosen.edge_port
        finally:
            await envoy.stop()


def fill(
    topology: Topology, target: int | Sequence[int], cells: int, ruleset: str, tenants: int
) -> None:
    """Fill a topology: cells with one endpoint at the port ``target``, tenants and a ruleset."""
    actor = f"bench {os.getpid()}"
    ports = [target] * cells if isinstance(target, int) else target
    for number, port in enumerate(ports, 1):
        topology.cells.create(
            CellSpec(
                f"cell-{number}",
                f"cell-{number}.example.com",
                (Endpoint("127.0.0.1", port),),
                session_prefix=f"cell-{number}",
                state=CellState.ACTIVE,
            ),
            actor=actor,
        )
    specs = [
        ClaimSpec("tenant", f"tenant-{number}", f"cell-{number % cells + 1}")
        for number in range(tenants)
    ]
    for start in range(0, tenants, _BATCH):
        topology.claims.claim(specs[start : start + _BATCH], actor=actor)
    document = (RULESETS / f"{ruleset}.json").read_text()
    version = topology.rulesets.put(ruleset, document, actor=actor).value.version
    topology.rulesets.activate(ruleset, version, actor=actor)
