"""The xDS services on a grpc.aio server: which streams are open, and what wakes them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
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

from control_plane.names import CDS, ECDS, EDS, LDS, RDS, RTDS, SDS
from control_plane.xds.fleet.fleet import Fleet
from control_plane.xds.resource import PUSH_ORDER
from control_plane.xds.server.delta_request import LightRequest
from control_plane.xds.server.revision_probe import Newest
from control_plane.xds.server.stream import Limits, ResponseTooLarge, Stream
from control_plane.xds.session.delta import DeltaSession
from control_plane.xds.session.session import ProtocolError, Session
from control_plane.xds.session.sotw import SotwSession
from control_plane.xds.snapshot_cache import SnapshotCache

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


class XdsServer:
    """Serves a cache to Envoys over ADS and the single-type services."""

    def __init__(
        self,
        cache: SnapshotCache,
        fleet: Fleet,
        limits: Limits | None = None,
        *,
        newest: Callable[[], int] | None = None,
        force_shrink: bool = False,
    ) -> None:
        """``newest`` reads the newest committed revision; see `xds.server.revision_probe`.

        Without it this is the only server that the nodes ever speak to.
        """
        self.newest = Newest(newest) if newest is not None else None
        self.force_shrink = force_shrink
        self._cache = cache
        self._fleet = fleet
        self._limits = limits or Limits()
        self._streams: set[Stream] = set()
        self._stopping = False
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
        self._stopping = True
        for stream in tuple(self._streams):
            stream.end()

    async def serve(
        self,
        session: DeltaSession | SotwSession,
        context: grpc.aio.ServicerContext[Any, bytes],
        implied_type: str,
        first: Any = None,
    ) -> None:
        """Run one stream until the client leaves or the server stops.

        ``first`` is a request that somebody has read from it already.
        """
        if len(self._streams) >= self._limits.streams:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"{self._limits.streams} streams are open"
            )
        stream = Stream(self, session, context, implied_type, first)
        if self._stopping:
            return
        self._streams.add(stream)
        unwatch = self._cache.watch(stream.wake)
        try:
            await stream.run()
        except ProtocolError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except ResponseTooLarge as error:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        finally:
            unwatch()
            self._streams.discard(stream)

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    @property
    def alarm(self) -> str | None:
        """What keeps nodes from being served, if anything does."""
        held = [stream for stream in self._streams if stream.shrunk]
        if not held:
            return None
        return f"{len(held)} nodes are held back; {held[0].node_id}: {held[0].shrunk}"

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


def _identity(payload: bytes) -> bytes:
    return payload


def _service(
    service: str, stream: str, delta: str, server: XdsServer, types: Iterable[str], implied: str
) -> grpc.GenericRpcHandler[Any, Any]:
    served = tuple(types)

    async def serve_sotw(
        _: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, bytes]
    ) -> None:
        session = SotwSession(served, gate_timeout_s=server.limits.gate_timeout_s)
        await server.serve(session, context, implied)

    async def serve_delta(
        _: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, bytes]
    ) -> None:
        session = DeltaSession(served, gate_timeout_s=server.limits.gate_timeout_s)
        await server.serve(session, context, implied)

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
                request_deserializer=LightRequest.FromString,
                response_serializer=_identity,
            ),
        },
    )


__all__ = ["Limits", "Session", "XdsServer"]
