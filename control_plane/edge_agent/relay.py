"""Envoy's ADS: passed on to the control plane, or served from disk where there is none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, NoReturn

import grpc
from envoy.service.discovery.v3 import discovery_pb2

from control_plane.edge_agent.metrics import AgentMetrics
from control_plane.edge_agent.recording import Recording
from control_plane.edge_agent.saver import Saver
from control_plane.edge_agent.store import Kept, OlderRevision, SnapshotStore
from control_plane.edge_agent.upstream import ADS, ControlPlane, final_status
from control_plane.xds.fleet.fleet import Fleet
from control_plane.xds.resource import PUSH_ORDER
from control_plane.xds.server.server import XdsServer
from control_plane.xds.session.delta import DeltaSession
from control_plane.xds.snapshot_cache import SnapshotCache

log = logging.getLogger(__name__)
OLDER_S = 5.0
"""How long a control plane that is at an older revision is left alone."""
_Context = grpc.aio.ServicerContext[Any, bytes]


class Relay:
    """The one service of an agent's port, for one Envoy."""

    def __init__(
        self,
        control_plane: ControlPlane,
        store: SnapshotStore,
        saver: Saver,
        metrics: AgentMetrics,
    ) -> None:
        self._control_plane = control_plane
        self._store = store
        self._saver = saver
        self._metrics = metrics
        self._node = ""
        self._latest: Kept | None = store.newest
        """What Envoy runs as far as is known: perhaps newer than what could be written."""
        self._older_until = 0.0

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server."""
        delta = grpc.stream_stream_rpc_method_handler(
            self._delta,
            request_deserializer=discovery_pb2.DeltaDiscoveryRequest.FromString,
            response_serializer=_identity,
        )
        sotw = grpc.stream_stream_rpc_method_handler(self._sotw)
        methods = {"DeltaAggregatedResources": delta, "StreamAggregatedResources": sotw}
        handler = grpc.method_handlers_generic_handler(ADS, methods)
        server.add_generic_rpc_handlers((handler,))

    async def _sotw(self, _: AsyncIterator[bytes], context: _Context) -> None:
        mend = "the agent speaks delta xDS only: make Envoy's bootstrap without --sotw"
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, mend)

    async def _delta(self, requests: AsyncIterator[Any], context: _Context) -> None:
        first = await anext(aiter(requests), None)
        if first is None:
            return
        if self._node and first.node.id != self._node:
            mend = "an agent keeps the snapshots of one Envoy: start another, with its directory"
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, f"this is {self._node!r}'s agent; {mend}"
            )
        self._node = first.node.id
        if await self._ready():
            await self._live(first, requests, context)
        elif (kept := self._servable(first)) is not None:
            await self._from_disk(kept, first, context)
        else:
            with self._counted("waiting"):
                log.warning("Envoy waits for the control plane: %s", self._control_plane.trouble)
                await self._until_ready()
            await self._live(first, requests, context)

    def _servable(self, first: Any) -> Kept | None:
        """The snapshot for an Envoy that knows nothing; one that runs something keeps that."""
        kept = self._store.newest
        if kept is None or first.initial_resource_versions:
            return None
        if kept.group != first.node.cluster:
            log.error("the snapshot on disk is for group %r: not served", kept.group)
            return None
        return kept

    async def _ready(self) -> bool:
        if asyncio.get_running_loop().time() < self._older_until:
            return False
        return await self._control_plane.serves()

    async def _until_ready(self) -> None:
        await asyncio.sleep(max(0.0, self._older_until - asyncio.get_running_loop().time()))
        await self._control_plane.until_serves()

    def _counted(self, source: str) -> Any:
        return self._metrics.streams.labels(source).track_inprogress()

    async def _from_disk(self, kept: Kept, first: Any, context: _Context) -> None:
        """Serve a snapshot until the control plane is back; Envoy then comes again."""
        log.error(
            "no control plane (%s): Envoy starts from the snapshot of revision %d",
            self._control_plane.trouble,
            kept.revision,
        )
        cache = SnapshotCache()
        cache.set(kept.snapshot)
        local = XdsServer(cache, Fleet())
        back = asyncio.create_task(self._until_ready())
        back.add_done_callback(lambda _: local.stop())
        try:
            with self._counted("snapshot"):
                await local.serve(DeltaSession(PUSH_ORDER), context, "", first)
            log.info("the control plane is back")
        finally:
            back.cancel()

    async def _live(self, first: Any, requests: AsyncIterator[Any], context: _Context) -> None:
        """Pass everything on, both ways, and keep what Envoy acknowledges."""
        recording = Recording(self._latest)
        call = self._control_plane.stream()
        up = asyncio.create_task(self._up(recording, _put_before(first, requests), call))
        down = asyncio.create_task(self._down(recording, call, context))
        try:
            with self._counted("live"):
                done, _ = await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        except OlderRevision as error:
            self._metrics.older.inc()
            self._older_until = asyncio.get_running_loop().time() + OLDER_S
            log.error("%s: not passed on", error)  # noqa: TRY400
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        except ValueError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            await self._ended(error, call, context)
        finally:
            call.cancel()
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            self._newest(recording)

    async def _ended(self, error: Exception, call: Any, context: _Context) -> NoReturn:
        """End Envoy's stream the way that the control plane's ended."""
        code, details = await final_status(call)
        log.warning("the control plane's stream has ended: %s", details or error)
        await context.abort(code, details or str(error))

    async def _up(self, recording: Recording, requests: AsyncIterator[Any], call: Any) -> None:
        async for request in requests:
            acknowledged = recording.on_request(request)
            await call.write(request)
            if acknowledged:
                self._saver.offer(lambda: self._newest(recording))

    def _newest(self, recording: Recording) -> Kept | None:
        kept = recording.kept()
        if kept is not None:
            self._latest = kept
        return kept

    async def _down(self, recording: Recording, call: Any, context: _Context) -> None:
        async for payload in call:
            recording.on_response(discovery_pb2.DeltaDiscoveryResponse.FromString(payload))
            await context.write(payload)


async def _put_before(first: Any, rest: AsyncIterator[Any]) -> AsyncIterator[Any]:
    yield first
    async for request in rest:
        yield request


def _identity(payload: bytes) -> bytes:
    return payload
