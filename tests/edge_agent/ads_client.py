"""A client that speaks delta xDS, as an Envoy does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2

from control_plane.edge_agent import upstream
from control_plane.names import CDS, LDS


class AdsClient:
    """Does what an Envoy does for clusters and listeners: asks for all, and acknowledges what comes."""

    def __init__(
        self, address: str, node: str = "n1", group: str = "edge", *, keepalive_s: float = 7200
    ) -> None:
        pings = (
            ("grpc.keepalive_time_ms", round(keepalive_s * 1000)),
            ("grpc.http2.max_pings_without_data", 0),
        )
        self._channel = grpc.aio.insecure_channel(address, options=pings)
        self._stub = ads_pb2_grpc.AggregatedDiscoveryServiceStub(self._channel)
        self._node, self._group = node, group
        self.has: dict[str, dict[str, str]] = {CDS: {}, LDS: {}}
        self.received: list[Any] = []
        self.error = ""

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        call = self._stub.DeltaAggregatedResources()
        upstream.note_status(call)
        self.error = ""
        for type_url in (CDS, LDS):
            request = discovery_pb2.DeltaDiscoveryRequest(
                type_url=type_url, initial_resource_versions=self.has[type_url]
            )
            request.node.id, request.node.cluster = self._node, self._group
            # One that is refused may be so before it has asked for all; `_read` says why.
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await call.write(request)
        reading = asyncio.create_task(self._read(call))
        try:
            yield
        finally:
            call.cancel()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, call: Any) -> None:
        try:
            async for response in call:
                self.received.append(response)
                has = self.has[response.type_url]
                has |= {one.name: one.version for one in response.resources}
                for name in response.removed_resources:
                    has.pop(name, None)
                acknowledged = discovery_pb2.DeltaDiscoveryRequest(
                    type_url=response.type_url, response_nonce=response.nonce
                )
                # If the stream has ended meanwhile, the next response says why.
                with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                    await call.write(acknowledged)
        except grpc.aio.AioRpcError:
            code, details = await upstream.final_status(call)
            self.error = details or code.name

    def clusters(self) -> set[str]:
        return set(self.has[CDS])

    def ended(self) -> bool:
        return bool(self.error)

    async def __aenter__(self) -> AdsClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close(None)
