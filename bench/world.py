"""What benchmarks run against: the whole system, and a bare Envoy beside it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import uvloop

from bench.topologies import activate, add_cells, add_tenants
from control_plane.cli.local.edge_module import local_module
from control_plane.cli.local.system import LOCAL_NODE, local_bootstrap
from control_plane.names import TYPE_URL
from control_plane.process.admin_address import AdminAddress
from control_plane.process.envoy import Envoy
from control_plane.server import Running, running
from control_plane.settings import Settings
from control_plane.topology import Topology
from tests.support.ports import unused_port

START_S = 120.0
"""How long the system may take until it serves; on a quiet machine it takes seconds."""


class _Answer(asyncio.Protocol):
    def __init__(self, body: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\ncontent-type: text/plain\r\n\r\n"
        self._answer = head.encode() + body

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(self._answer * data.count(b"\r\n\r\n"))


def _upstream(pipe: Connection, body: bytes) -> None:
    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Answer(body), "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


@contextlib.contextmanager
def upstream(body: bytes = b"ok") -> Iterator[int]:
    """Run the cheapest possible cell in a process of its own; yield its port."""
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
    """Run the baseline, an Envoy that does nothing but proxy; yield its port."""
    port = unused_port()
    async with static_envoy(bare_bootstrap(port, target), directory / "bare"):
        yield port


@contextlib.asynccontextmanager
async def static_envoy(bootstrap: Mapping[str, Any], directory: Path) -> AsyncIterator[Envoy]:
    """Run an Envoy with one worker and a configuration of its own."""
    envoy = Envoy(json.dumps(bootstrap), directory, concurrency=1)
    await envoy.start()
    try:
        yield envoy
    finally:
        await envoy.stop()


def bare_bootstrap(port: int, target: int) -> dict[str, Any]:
    """Return a static configuration with one listener, one route and one cluster."""
    endpoint = {"endpoint": {"address": _address(target)}}
    cluster = {
        "name": "cell",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "cell", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    filters = [{"name": "hcm", "typed_config": _manager()}]
    listener = {
        "name": "edge",
        "address": _address(port),
        "filter_chains": [{"filters": filters}],
    }
    return {
        "admin": {"address": _address(0)},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }


def _manager() -> dict[str, Any]:
    """Return an HTTP connection manager that sends everything to the one cluster."""
    filters = f"{TYPE_URL}envoy.extensions.filters"
    route = {"match": {"prefix": "/"}, "route": {"cluster": "cell"}}
    router = {"@type": f"{filters}.http.router.v3.Router"}
    return {
        "@type": f"{filters}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "router", "typed_config": router}],
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def plane_settings(directory: Path, **settings: Any) -> Settings:
    """Return the settings of a control plane on free ports, with its files in a directory."""
    defaults: dict[str, Any] = {
        "database_url": f"sqlite:///{directory}/cellway.db",
        "data_dir": directory,
        "api_port": 0,
        "grpc_port": 0,
        "classifier_port": 0,
        "envoy_admin_port": 0,
        "edge_port": unused_port(),
        "debug_networks": (),
        "health_interval_s": 0,
        "edge_module": "off",
    }
    return Settings(**(defaults | settings))


@dataclass(frozen=True, slots=True)
class World:
    """A control plane and the Envoy that it configures."""

    plane: Running
    envoy: Envoy
    admin: AdminAddress
    port: int
    """The edge's."""


@contextlib.asynccontextmanager
async def cellway(
    directory: Path,
    target: int | Sequence[int],
    cells: int,
    ruleset: str,
    tenants: int = 0,
    **settings: Any,
) -> AsyncIterator[tuple[Running, int]]:
    """Run the whole system as `world` does; yield it and the edge's port."""
    async with world(directory, target, cells, ruleset, tenants, **settings) as one:
        yield one.plane, one.port


@contextlib.asynccontextmanager
async def world(
    directory: Path,
    target: int | Sequence[int],
    cells: int,
    ruleset: str,
    tenants: int = 0,
    **settings: Any,
) -> AsyncIterator[World]:
    """Run the whole system.

    Args:
        directory: Where its files go.
        target: The port of the upstream that stands for all cells, or a port for each cell.
        cells: How many cells there are.
        ruleset: The shipped ruleset that routes.
        tenants: How many names of tenants are claimed.
        settings: Override `plane_settings`.
    """
    chosen = plane_settings(directory, **settings)
    async with running(chosen) as plane:
        await asyncio.to_thread(fill, plane.topology, target, cells, ruleset, tenants)
        module = await asyncio.to_thread(local_module, chosen.edge_module)
        bootstrap = local_bootstrap(chosen, plane, module)
        envoy = Envoy(bootstrap, directory / "envoy", concurrency=1, modules=module.directory)
        admin = await envoy.start()
        try:
            await plane.fleet.joined(LOCAL_NODE, START_S)
            lacking = await plane.fleet.wait(plane.topology.revision(), START_S)
            if lacking or not plane.fleet.nodes():
                raise RuntimeError(f"the fleet does not come up: {envoy.tail()}")
            yield World(plane, envoy, admin, chosen.edge_port)
        finally:
            await envoy.stop()


def fill(
    topology: Topology, target: int | Sequence[int], cells: int, ruleset: str, tenants: int
) -> None:
    """Fill a topology: cells with one endpoint at the port ``target``, tenants and a ruleset."""
    ports = [target] * cells if isinstance(target, int) else target
    add_cells(topology, ports)
    add_tenants(topology, "tenant", [f"tenant-{number}" for number in range(tenants)], cells)
    activate(topology, ruleset)
