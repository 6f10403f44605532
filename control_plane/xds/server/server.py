"""The xDS services on a grpc.aio server: ADS and one service for each type, in both protocols."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
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

from control_plane.names import CDS, ECDS, EDS, LDS, RDS, RTDS, SDS, has_too_many_parts
from control_plane.xds.fleet.fleet import Fleet
from control_plane.xds.resource_types import PUSH_ORDER
from control_plane.xds.server.limits import Limits
from control_plane.xds.server.revision_probe import RevisionProbe
from control_plane.xds.server.sender import ResponseTooLarge
from control_plane.xds.server.stream import Stream, StreamServices
from control_plane.xds.server.wakes import Wakes
from control_plane.xds.session.delta import DeltaSession
from control_plane.xds.session.delta_request import DeltaRequest
from control_plane.xds.session.ledger import ClientLimitExceeded, ProtocolError
from control_plane.xds.session.sotw import SotwSession
from control_plane.xds.snapshot_cache import SnapshotCache
from control_plane.xds.variants import ChooseVariant, always_plain

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
"""By the full name of a service, its type and the noun in the names of its methods.

The names are read from the descriptors, because their import also gives server reflection the
files that it serves.
"""
SERVICES = (_AGGREGATED, *_SINGLE)
"""Full names of the services that `XdsServer.register` adds."""


class XdsServer:
    """Serves the snapshot of a cache to Envoys, over ADS and the single-type services."""

    def __init__(
        self,
        cache: SnapshotCache,
        fleet: Fleet,
        limits: Limits | None = None,
        *,
        newest_revision: Callable[[], int] | None = None,
        force_shrink: bool = False,
        choose_variant: ChooseVariant = always_plain,
    ) -> None:
        """Serve nobody yet.

        Args:
            cache: The snapshot to serve.
            fleet: Is told which nodes are connected and what they run.
            limits: Bounds of all streams.
            newest_revision: Reads the newest committed revision; see `revision_probe`. None: the
                nodes never speak to another server.
            force_shrink: Whether to send a node a snapshot that takes away most of what it has.
            choose_variant: Returns which variant of the snapshots a node gets.
        """
        self._limits = limits or Limits()
        self._services = StreamServices(
            cache,
            fleet,
            self._limits,
            RevisionProbe(newest_revision) if newest_revision is not None else None,
            self._count_sent,
            choose_variant,
            self._wake_node,
        )
        self._guards_shrink = not force_shrink
        self._streams: set[Stream] = set()
        self._wakes = Wakes()
        cache.watch(lambda: self._wakes.wake([stream.wake for stream in self._streams]))
        self._stopping = False
        self.sent_resource_bytes = 0
        """Bytes of resources sent since the start. A reconnect without changes adds none."""

    def register(self, server: grpc.aio.Server) -> None:
        """Add the services to a gRPC server."""
        handlers = [self._service(_AGGREGATED, "AggregatedResources", PUSH_ORDER, "")]
        for service, (type_url, noun) in _SINGLE.items():
            handlers.append(self._service(service, noun, (type_url,), type_url))
        server.add_generic_rpc_handlers(tuple(handlers))

    def _service(
        self, service: str, noun: str, types: tuple[str, ...], implied_type: str
    ) -> grpc.GenericRpcHandler[Any, Any]:
        """Return a service with a method ``Stream<noun>`` and a method ``Delta<noun>``."""
        gate_timeout_s, guards = self._limits.gate_timeout_s, self._guards_shrink

        async def serve_sotw(
            _: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, bytes]
        ) -> None:
            session = SotwSession(types, gate_timeout_s=gate_timeout_s, guards_shrink=guards)
            await self.serve(session, context, implied_type)

        async def serve_delta(
            _: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, bytes]
        ) -> None:
            session = DeltaSession(types, gate_timeout_s=gate_timeout_s, guards_shrink=guards)
            await self.serve(session, context, implied_type)

        methods = {
            f"Stream{noun}": grpc.stream_stream_rpc_method_handler(
                serve_sotw,
                request_deserializer=_reader(discovery_pb2.DiscoveryRequest),
                response_serializer=_identity,
            ),
            f"Delta{noun}": grpc.stream_stream_rpc_method_handler(
                serve_delta,
                request_deserializer=_reader(DeltaRequest),
                response_serializer=_identity,
            ),
        }
        return grpc.method_handlers_generic_handler(service, methods)

    def stop(self) -> None:
        """End every stream, so that clients reconnect elsewhere."""
        self._stopping = True
        for stream in tuple(self._streams):
            stream.end()

    async def close(self) -> None:
        """Wait for what still reads the newest revision; every stream has ended before."""
        if self._services.probe is not None:
            await self._services.probe.close()

    async def serve(
        self,
        session: DeltaSession | SotwSession,
        context: grpc.aio.ServicerContext[Any, bytes],
        implied_type: str,
        first: Any = None,
    ) -> None:
        """Run one stream until the client leaves or the server stops.

        Args:
            session: The state machine of the stream.
            context: The call.
            implied_type: The type of a single-type service; empty for ADS.
            first: A request that somebody has read from the call already.
        """
        if len(self._streams) >= self._limits.streams:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"{self._limits.streams} streams are open"
            )
        stream = Stream(self._services, session, context, implied_type, first)
        if self._stopping:
            return
        self._streams.add(stream)
        try:
            await stream.run()
        except ClientLimitExceeded as error:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        except ProtocolError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except ResponseTooLarge as error:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        finally:
            self._wakes.forget(stream.wake)
            self._streams.discard(stream)

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    @property
    def alarm(self) -> str | None:
        """What keeps nodes from being served, if at least half of them are held back.

        An emptied database holds back the whole fleet. What a single node says that it has must
        not raise the alarm: it is STALE, with the reason.
        """
        held_back = [stream for stream in self._streams if stream.shrink_reason]
        nodes = {one.node_id for one in held_back}
        if not held_back or len(nodes) * 2 < self.fleet.connected_nodes:
            return None
        first = held_back[0]
        return f"{len(held_back)} nodes are held back; {first.node_id}: {first.shrink_reason}"

    @property
    def cache(self) -> SnapshotCache:
        """The cache whose snapshot is served."""
        return self._services.cache

    @property
    def fleet(self) -> Fleet:
        """The nodes that are served."""
        return self._services.fleet

    def _wake_node(self, node_id: str) -> None:
        self._wakes.wake([one.wake for one in self._streams if one.node_id == node_id])

    def _count_sent(self, count: int) -> None:
        self.sent_resource_bytes += count


def _reader(kind: Any) -> Callable[[bytes], Any]:
    """Return the function that reads the requests of a stream; `Stream` handles what it raises."""
    parse = kind.FromString

    def read(data: bytes) -> Any:
        if has_too_many_parts(data):
            raise ProtocolError(f"the {len(data)} bytes of a request are of too many parts")
        return parse(data)

    return read


def _identity(payload: bytes) -> bytes:
    return payload
