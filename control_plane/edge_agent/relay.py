"""Envoy's ADS: passed on to the control plane, or served from disk if there is none.

What happens when Envoy opens its stream:

| control plane | Envoy | a good snapshot on disk | the agent |
| --- | --- | --- | --- |
| serves | any | any | passes everything on, and records what Envoy acknowledges |
| is away | has something | any | waits for the control plane; Envoy goes on with what it has |
| is away | has nothing | yes | serves the snapshot until the control plane is back |
| is away | has nothing | no | waits for the control plane |

A control plane that is at an older revision than this edge counts as away for `OLDER_S`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, NoReturn

import grpc
from envoy.service.discovery.v3 import discovery_pb2

from control_plane.edge_agent.admission import Admission, NotAdmitted
from control_plane.edge_agent.metrics import AgentMetrics
from control_plane.edge_agent.recording import Recording
from control_plane.edge_agent.saved_snapshot import SavedSnapshot
from control_plane.edge_agent.saved_variants import SavedVariants
from control_plane.edge_agent.saver import Saver
from control_plane.edge_agent.store import OlderRevision, SnapshotStore
from control_plane.edge_agent.upstream import ADS, ControlPlane, final_status
from control_plane.xds.fleet.fleet import Fleet
from control_plane.xds.resource_types import PUSH_ORDER
from control_plane.xds.server.server import XdsServer
from control_plane.xds.session.delta import DeltaSession

log = logging.getLogger(__name__)
OLDER_S = 5.0
"""How long a control plane that is at an older revision is not asked again."""
_Context = grpc.aio.ServicerContext[Any, bytes]


class Relay:
    """The one service of an agent's port, for one Envoy."""

    def __init__(
        self,
        control_plane: ControlPlane,
        store: SnapshotStore,
        saver: Saver,
        metrics: AgentMetrics,
        admission: Admission,
        variants: SavedVariants | None = None,
    ) -> None:
        self._control_plane = control_plane
        self._store = store
        self._saver = saver
        self._metrics = metrics
        self._admission = admission
        self._variants = variants or SavedVariants()
        self._served = Fleet()
        """What Envoy answers to a snapshot from disk, from one of its streams to the next."""
        self._latest: SavedSnapshot | None = store.newest
        """The last recording of what Envoy runs. It may be newer than what could be written."""
        self._older_until = 0.0
        """Until when the control plane counts as being at an older revision."""

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a gRPC server."""
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
        hint = "the agent speaks delta xDS only: make Envoy's bootstrap without --sotw"
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, hint)

    async def _delta(self, requests: AsyncIterator[Any], context: _Context) -> None:
        try:
            first = await self._admission.first_of(requests)
            if first is None:
                return
            async with self._admission.place():
                await self._serve(first, requests, context)
        except NotAdmitted as refused:
            await context.abort(refused.code, str(refused))

    async def _serve(self, first: Any, requests: AsyncIterator[Any], context: _Context) -> None:
        if await self._plane_serves():
            await self._pass_on(first, requests, context)
        elif (saved := self._snapshot_for(first)) is not None:
            await self._serve_from_disk(saved, first, context)
        else:
            with self._counted("waiting"):
                log.warning("Envoy waits for the control plane: %s", self._control_plane.trouble)
                await self._until_plane_serves()
            await self._pass_on(first, requests, context)

    def _snapshot_for(self, first: Any) -> SavedSnapshot | None:
        """Return the snapshot to serve, by Envoy's first request; None if it has something."""
        saved = self._store.newest
        if saved is None or first.initial_resource_versions:
            return None
        if saved.group != first.node.cluster:
            log.error("the snapshot on disk is for group %r: not served", saved.group)
            return None
        return saved

    async def _plane_serves(self) -> bool:
        if asyncio.get_running_loop().time() < self._older_until:
            return False
        return await self._control_plane.serves()

    async def _until_plane_serves(self) -> None:
        await asyncio.sleep(max(0.0, self._older_until - asyncio.get_running_loop().time()))
        await self._control_plane.until_serves()

    def _counted(self, source: str) -> Any:
        return self._metrics.streams.labels(source).track_inprogress()

    async def _serve_from_disk(self, saved: SavedSnapshot, first: Any, context: _Context) -> None:
        """Serve a snapshot until the control plane is back. Envoy then opens a new stream."""
        log.error(
            "no control plane (%s): Envoy starts from the snapshot of revision %d",
            self._control_plane.trouble,
            saved.revision,
        )
        cache = self._variants.cache(saved.snapshot)
        local = XdsServer(cache, self._served, choose_variant=self._variants.choose)
        plane_is_back = asyncio.create_task(self._until_plane_serves())
        plane_is_back.add_done_callback(lambda _: local.stop())
        try:
            with self._counted("snapshot"):
                await local.serve(DeltaSession(PUSH_ORDER), context, "", first)
            log.info("the control plane is back")
        finally:
            plane_is_back.cancel()

    async def _pass_on(self, first: Any, requests: AsyncIterator[Any], context: _Context) -> None:
        """Pass everything on, both ways, and record what Envoy acknowledges."""
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
            await self._end_alike(error, call, context)
        finally:
            call.cancel()
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            self._snapshot_of(recording)

    async def _end_alike(self, error: Exception, call: Any, context: _Context) -> NoReturn:
        """End Envoy's stream with the status that the control plane's stream ended with."""
        code, details = await final_status(call)
        log.warning("the control plane's stream has ended: %s", details or error)
        await context.abort(code, details or str(error))

    async def _up(self, recording: Recording, requests: AsyncIterator[Any], call: Any) -> None:
        async for request in requests:
            acknowledged = recording.on_request(request)
            await call.write(request)
            if acknowledged:
                self._saver.offer(lambda: self._snapshot_of(recording))

    def _snapshot_of(self, recording: Recording) -> SavedSnapshot | None:
        """Return what Envoy runs, and remember it for its next stream."""
        snapshot = recording.snapshot()
        latest = self._latest
        # While an Envoy takes over from another, there are two recordings.
        if snapshot is not None and (latest is None or latest.revision <= snapshot.revision):
            self._latest = snapshot
        return snapshot

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
