"""A server on a free port, and what speaks to it as a client would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
from envoy.service.status.v3 import csds_pb2_grpc

from control_plane.names import CDS
from control_plane.xds.fleet.client_status import ClientStatus
from control_plane.xds.fleet.fleet import Fleet
from control_plane.xds.resource import Resource
from control_plane.xds.server.limits import Limits
from control_plane.xds.server.server import XdsServer
from control_plane.xds.snapshot import Snapshot
from control_plane.xds.snapshot_cache import SnapshotCache
from control_plane.xds.variants import ChooseVariant, always_plain

WAIT_S = 10.0


class Wire:
    """A server on a free port and what is needed to look at it."""

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        options: tuple[tuple[str, Any], ...] = (),
        max_answer_bytes: int = 1 << 20,
        newest_revision: Callable[[], int] | None = None,
        force_shrink: bool = False,
        fleet: Fleet | None = None,
        choose_variant: ChooseVariant = always_plain,
    ) -> None:
        self.cache = SnapshotCache()
        self.fleet = fleet or Fleet()
        self.xds = XdsServer(
            self.cache,
            self.fleet,
            limits,
            newest_revision=newest_revision,
            force_shrink=force_shrink,
            choose_variant=choose_variant,
        )
        self._status = ClientStatus(self.fleet, max_answer_bytes)
        self._options = options
        self.port = 0

    async def __aenter__(self) -> Wire:
        self._server = grpc.aio.server(options=self._options)
        self.xds.register(self._server)
        self._status.register(self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.port}")
        self.stub = ads_pb2_grpc.AggregatedDiscoveryServiceStub(self.channel)
        self.status = csds_pb2_grpc.ClientStatusDiscoveryServiceStub(self.channel)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.xds.stop()
        await self.channel.close()
        await self._server.stop(1)


def clusters(revision: int, *names: str, body: bytes = b"") -> Snapshot:
    # An empty body is a valid message of every type.
    return Snapshot(revision, [Resource.of(CDS, name, body) for name in names])


def first(node: str = "n1", type_url: str = CDS, **fields: Any) -> Any:
    return discovery_pb2.DeltaDiscoveryRequest(
        node=base_pb2.Node(id=node, cluster="edge"), type_url=type_url, **fields
    )


def answer(response: Any, error: str = "") -> Any:
    """An ACK of a delta response, or a NACK with a text."""
    made = discovery_pb2.DeltaDiscoveryRequest(
        type_url=response.type_url, response_nonce=response.nonce
    )
    if error:
        made.error_detail.message = error
    return made


async def read(call: Any) -> Any:
    async with asyncio.timeout(WAIT_S):
        return await call.read()


async def until(condition: Any, wait_s: float = WAIT_S) -> None:
    """Wait until a condition holds; raises TimeoutError otherwise."""
    async with asyncio.timeout(wait_s):
        while not condition():
            await asyncio.sleep(0.01)
