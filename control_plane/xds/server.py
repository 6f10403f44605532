"""The grpc.aio shell around sessions: reads requests, writes bytes, bounds everything."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import grpc
from envoy.service.cluster.v3 import cds_pb2
from envoy.service.discovery.v3 import ads_pb2, discovery_pb2
from envoy.service.endpoint.v3 import eds_pb2
from envoy.service.extension.v3 import config_discovery_pb2
from envoy.service.listener.v3 import lds_pb2
from envoy.service.route.v3 import rds_pb2
from envoy.service.runtime.v3 import rtds_pb2
from envoy.service.secret.v3 import sds_pb2

from control_plane.xds.cache import SnapshotCache
from control_plane.xds.delta import DeltaSession, delta_bytes
from control_plane.xds.fleet import Fleet
from control_plane.xds.node import NODE_NAME
from control_plane.xds.resource import CDS, ECDS, EDS, LDS, PUSH_ORDER, RDS, RTDS, SDS
from control_plane.xds.session import ProtocolError, Response, Session
from control_plane.xds.sotw import SotwSession, sotw_bytes
from control_plane.xds.transport import MAX_SENT_BYTES

log = logging.getLogger(__name__)
_AGGREGATED = ads_pb2.DESCRIPTOR.services_by_name["AggregatedDiscoveryService"].full_name
_SINGLE = {
    cds_pb2.DESCRIPTOR.services_by_name["ClusterDiscoveryService"].full_name: (CDS, "Clusters"),
    eds_pb2.DESCRIPTOR.services_by_name["EndpointDiscoveryService"].full_name: (EDS, "Endpoints"),
    lds_pb2.DESCRIPTOR.services_by_name["ListenerDiscoveryService"].full_name: (LDS, "Listeners"),
    rds_pb2.DESCRIPTOR.services_by_name["RouteDiscoveryService"].full_name: (RDS, "Routes"),
    config_discovery_pb2.DESCRIPTOR.services_by_name["ExtensionConfigDiscoveryService"].full_name: (
        ECDS,
        "ExtensionConfigs",
    ),
    sds_pb2.DESCRIPTOR.services_by_name["SecretDiscoveryService"].full_name: (SDS, "Secrets"),
    rtds_pb2.DESCRIPTOR.services_by_name["RuntimeDiscoveryService"].full_name: (RTDS, "Runtime"),
}
"""Names from the descriptors, whose import also gives server reflection their files."""
SERVICES = (_AGGREGATED, *_SINGLE)
"""Full names of the services that `XdsServer.register` adds."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of what strangers can make us hold."""

    streams: int = 10_000
    names_per_request: int = 100_000
    response_bytes: int = MAX_SENT_BYTES
    hello_timeout_s: float = 30.0
    """How long a stream may take to say who it is."""
    gate_timeout_s: float = 10.0
    """How long one type may hold back the next (a cluster that never warms, a lost answer)."""


class ResponseTooLarge(Exception):
    """A response is over `Limits.response_bytes`; the cache should have refused it before."""


class XdsServer:
    """Serves a cache to Envoys over ADS and the single-type services."""

    def __init__(self, cache: SnapshotCache, fleet: Fleet, limits: Limits | None = None) -> None:
        self._cache = cache
        self._fleet = fleet
        self._limits = limits or Limits()
        self._streams = 0
        self._stopping = asyncio.Event()
        self.sent_resource_bytes = 0
        """Bytes of resources sent since the start; a reconnect without changes adds none."""

    def register(self, server: grpc.aio.Server) -> None:
        """Add the services to a server."""
        handlers = [
            _service(
                _AGGREGATED,
                "StreamAggregatedResources",
                "DeltaAggregatedResources",
                self,
                PUSH_ORDER,
                "",
            )
        ]
        for service, (type_url, noun) in _SINGLE.items():
            handlers.append(
                _service(service, f"Stream{noun}", f"Delta{noun}", self, (type_url,), type_url)
            )
        server.add_generic_rpc_handlers(tuple(handlers))

    def stop(self) -> None:
        """End every stream, so that clients reconnect elsewhere."""
        self._stopping.set()

    async def serve(
        self,
        session: DeltaSession | SotwSession,
        requests: AsyncIterator[Any],
        context: grpc.aio.ServicerContext[Any, bytes],
        implied_type: str,
    ) -> None:
        """Run one stream until the client leaves or the server stops."""
        if self._streams >= self._limits.streams:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"{self._limits.streams} streams are open"
            )
        self._streams += 1
        stream = _Stream(self, session, context, implied_type)
        unwatch = self._cache.watch(stream.wake.set)
        tasks = {
            asyncio.create_task(stream.read(requests)),
            asyncio.create_task(stream.push()),
            asyncio.create_task(stream.identified()),
            asyncio.create_task(self._stopping.wait()),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except ProtocolError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except ResponseTooLarge as error:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        finally:
            unwatch()
            for task in tasks:
                task.cancel()
            # First what must not be left out: gRPC may cancel us (again) where we wait.
            self._streams -= 1
            if stream.node_id is not None:
                self._fleet.disconnected(stream.node_id, session)
            await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return self._streams

    @property
    def cache(self) -> SnapshotCache:
        """The snapshots served."""
        return self._cache

    @property
    def fleet(self) -> Fleet:
        """The nodes served."""
        return self._fleet

    @property
    def limits(self) -> Limits:
        """The bounds kept."""
        return self._limits


class _Stream:
    """One open stream: a session, and the lock that keeps its writes in order."""

    def __init__(
        self,
        server: XdsServer,
        session: DeltaSession | SotwSession,
        context: grpc.aio.ServicerContext[Any, bytes],
        implied_type: str,
    ) -> None:
        self._server = server
        self._session = session
        self._context = context
        self._implied_type = implied_type
        self._lock = asyncio.Lock()
        self._to_bytes: Callable[[Response], bytes] = (
            delta_bytes if isinstance(session, DeltaSession) else sotw_bytes
        )
        self._group = ""
        self._known = asyncio.Event()
        self.node_id: str | None = None
        self.wake = asyncio.Event()

    async def read(self, requests: AsyncIterator[Any]) -> None:
        """Handle requests until the client closes its side."""
        async for request in requests:
            self._check(request)
            if self.node_id is None:
                self._identify(request.node)
            async with self._lock:
                responses = self._session.on_request(request)
                await self._write(responses)
            self._report()

    async def identified(self) -> None:
        """Never returns; raises `ProtocolError` if no first request comes in time."""
        limit_s = self._server.limits.hello_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                await self._known.wait()
        except TimeoutError:
            raise ProtocolError(f"no request with a node came in {limit_s:g} s") from None
        await asyncio.Event().wait()

    async def push(self) -> None:
        """Send each newer snapshot; a slow client gets only the newest when it is ready."""
        while True:
            awaited = self._session.waiting_for
            try:
                async with asyncio.timeout(self._server.limits.gate_timeout_s):
                    await self.wake.wait()
                timed_out = False
            except TimeoutError:
                timed_out = bool(awaited) and awaited == self._session.waiting_for
            self.wake.clear()
            if self.node_id is None:
                continue
            async with self._lock:
                started = time.perf_counter()
                responses = self._session.on_snapshot(self._server.cache.get(self._group))
                if timed_out:
                    log.warning("%s: no answer in time; going on", self.node_id)
                    responses += self._session.on_timeout()
                await self._write(responses)
                if responses:
                    self._server.fleet.pushed(time.perf_counter() - started)
            self._report()

    def _check(self, request: Any) -> None:
        if self._implied_type:
            request.type_url = request.type_url or self._implied_type
        if not request.type_url:
            raise ProtocolError("type_url is missing")
        names = getattr(request, "resource_names_subscribe", None)
        count = len(request.resource_names if names is None else names)
        if count > self._server.limits.names_per_request:
            raise ProtocolError(f"{count} names in one request")
        if self.node_id is not None and request.HasField("node"):
            given = request.node
            if given.id not in {"", self.node_id} or given.cluster not in {"", self._group}:
                raise ProtocolError(
                    f"this stream is that of {self.node_id!r} in {self._group!r}, "
                    f"not of {given.id!r} in {given.cluster!r}"
                )

    def _identify(self, node: Any) -> None:
        if not NODE_NAME.match(node.id) or not NODE_NAME.match(node.cluster or "-"):
            raise ProtocolError("node.id must be 1 to 256 visible ASCII characters; cluster too")
        version = node.user_agent_build_version.version
        text = f"{version.major_number}.{version.minor_number}.{version.patch}"
        self._group = node.cluster
        self._session.on_snapshot(self._server.cache.get(self._group))
        self._server.fleet.connected(node.id, node.cluster, text, self._session)
        self.node_id = node.id
        self._known.set()

    def _report(self) -> None:
        if self.node_id is not None:
            for type_url, error in self._session.nacks:
                log.error("%s NACKed %s: %s", self.node_id, type_url, error)
            self._server.fleet.heard(self.node_id, self._session)

    async def _write(self, responses: Iterable[Response]) -> None:
        for response in responses:
            payload = self._to_bytes(response)
            if len(payload) > self._server.limits.response_bytes:
                log.error("%s: a response of %d bytes is too large", self.node_id, len(payload))
                raise ResponseTooLarge(f"a response of {len(payload)} bytes is over the limit")
            self._server.sent_resource_bytes += sum(len(r.body) for r in response.resources)
            await self._context.write(payload)


def _identity(payload: bytes) -> bytes:
    return payload


def _service(
    service: str, stream: str, delta: str, server: XdsServer, types: Iterable[str], implied: str
) -> grpc.GenericRpcHandler[Any, Any]:
    served = tuple(types)

    async def serve_sotw(
        requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, bytes]
    ) -> None:
        await server.serve(SotwSession(served), requests, context, implied)

    async def serve_delta(
        requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, bytes]
    ) -> None:
        await server.serve(DeltaSession(served), requests, context, implied)

    return grpc.method_handlers_generic_handler(
        service,
        {
            stream: grpc.stream_stream_rpc_method_handler(
                serve_sotw,
                request_deserializer=discovery_pb2.DiscoveryRequest.FromString,
                response_serializer=_identity,
            ),
            delta: grpc.stream_stream_rpc_method_handler(
                serve_delta,
                request_deserializer=discovery_pb2.DeltaDiscoveryRequest.FromString,
                response_serializer=_identity,
            ),
        },
    )


__all__ = ["Limits", "Session", "XdsServer"]
