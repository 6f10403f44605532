"""What a gRPC client (``xds:///``) needs from a control plane, and a backend for it to call."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import config_source_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as manager_pb2,
)

from control_plane.names import CDS, ECDS, EDS, LDS, RDS
from control_plane.xds.resource import Resource
from control_plane.xds.snapshot import Snapshot

MANY_CALLS = 20
ROOT = Path(__file__).parents[2]
NODE = "grpc-client"
TARGET, ROUTES, CLUSTER = "greeter", "greeter-routes", "greeter-cluster"
METHOD = "/cellway.test.Greeter/Who"
ADS = config_source_pb2.ConfigSource(
    ads=config_source_pb2.AggregatedConfigSource(), resource_api_version="V3"
)


def client_bootstrap(xds_port: int) -> str:
    """The content of ``GRPC_XDS_BOOTSTRAP_CONFIG``."""
    server = {
        "server_uri": f"127.0.0.1:{xds_port}",
        "channel_creds": [{"type": "insecure"}],
        "server_features": ["xds_v3"],
    }
    return json.dumps({"xds_servers": [server], "node": {"id": NODE, "cluster": "edge"}})


class Caller:
    """The client's process, which calls when it is told to."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def call(self, *, wait: bool = True) -> str:
        """Who answered, or the name of the status."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"wait\n" if wait else b"now\n")
        async with asyncio.timeout(15):
            return (await self._process.stdout.readline()).decode().strip()

    async def comes_from(self, name: str) -> None:
        """Call until this is who answers."""
        async with asyncio.timeout(15):
            while await self.call(wait=False) != name:
                pass

    async def come_from(self, names: set[str]) -> None:
        """Call until many answers in turn come from all of these, and from nobody else."""
        async with asyncio.timeout(15):
            while {await self.call(wait=False) for _ in range(MANY_CALLS)} != names:
                pass


@contextlib.asynccontextmanager
async def calling(xds_port: int, *command: str) -> AsyncIterator[Caller]:
    """A client that a command starts: gRPC takes its xDS bootstrap from a process's environment."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=ROOT,
        env={**os.environ, "GRPC_XDS_BOOTSTRAP_CONFIG": client_bootstrap(xds_port)},
    )
    try:
        yield Caller(process)
    finally:
        process.kill()
        await process.wait()


class Backend:
    """A gRPC server that answers with its own name."""

    def __init__(self, name: str) -> None:
        self._name = name.encode()
        self.port = 0

    async def __aenter__(self) -> Backend:
        self._server = grpc.aio.server()
        service, method = METHOD[1:].split("/")
        handler = grpc.unary_unary_rpc_method_handler(self._who)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {method: handler}),)
        )
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return self

    async def _who(self, _: bytes, __: Any) -> bytes:
        return self._name

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(0)


def listener() -> Resource:
    """An API listener that takes its routes from RDS."""
    manager = manager_pb2.HttpConnectionManager(stat_prefix="grpc")
    manager.rds.route_config_name = ROUTES
    manager.rds.config_source.CopyFrom(ADS)
    router = manager.http_filters.add(name="router")
    router.typed_config.Pack(router_pb2.Router())
    made = listener_pb2.Listener(name=TARGET)
    made.api_listener.api_listener.Pack(manager)
    return Resource.of(LDS, TARGET, made.SerializeToString(deterministic=True))


def routes(*clusters: str) -> Resource:
    """Everything goes to one cluster, or to each of several in turn."""
    made = route_pb2.RouteConfiguration(name=ROUTES)
    host = made.virtual_hosts.add(name="all", domains=["*"])
    route = host.routes.add()
    route.match.prefix = ""
    for name in clusters or (CLUSTER,):
        route.route.weighted_clusters.clusters.add(name=name).weight.value = 1
    return Resource.of(RDS, ROUTES, made.SerializeToString())


def cluster(name: str = CLUSTER) -> Resource:
    """A cluster that takes its endpoints from EDS."""
    made = cluster_pb2.Cluster(name=name, type="EDS", lb_policy="ROUND_ROBIN")
    made.eds_cluster_config.eds_config.CopyFrom(ADS)
    return Resource.of(CDS, name, made.SerializeToString())


def endpoints(*ports: int, name: str = CLUSTER) -> Resource:
    """These ports of the loopback interface."""
    made = endpoint_pb2.ClusterLoadAssignment(cluster_name=name)
    locality = made.endpoints.add()
    locality.locality.zone = "here"
    locality.load_balancing_weight.value = 1
    for port in ports:
        address = locality.lb_endpoints.add().endpoint.address.socket_address
        address.address, address.port_value = "127.0.0.1", port
    return Resource.of(EDS, name, made.SerializeToString())


def snapshot(revision: int, *resources: Resource) -> Snapshot:
    """A snapshot that has resources, too, for which a gRPC client never asks."""
    others = [Resource.of(ECDS, "lua", b"\x0a\x03lua"), cluster("for-envoys-only")]
    return Snapshot(revision, [*resources, *others])
