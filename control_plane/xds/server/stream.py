"""One open xDS stream: reads requests, steps the session and hands its responses to a sender.

The session decides everything and never waits. The stream brings it what happens (a request, a new
snapshot, a deadline, the proof that the snapshot is current) and tells the fleet what came of it.
An idle stream costs one task, which waits for the client.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import grpc

from control_plane.xds.fleet.fleet import Fleet
from control_plane.xds.server.limits import Limits
from control_plane.xds.server.nack_log import NackLog
from control_plane.xds.server.request_check import (
    check_node,
    check_request,
    check_same_node,
    envoy_version,
)
from control_plane.xds.server.revision_floor import RevisionFloor
from control_plane.xds.server.revision_probe import RevisionProbe
from control_plane.xds.server.sender import Sender
from control_plane.xds.server.stream_end import StreamEnd
from control_plane.xds.server.stream_variant import StreamVariant
from control_plane.xds.session.delta import DeltaSession, delta_bytes
from control_plane.xds.session.ledger import ClientLimitExceeded, ProtocolError
from control_plane.xds.session.order import Gate
from control_plane.xds.session.response import Response
from control_plane.xds.session.sotw import SotwSession, sotw_bytes
from control_plane.xds.snapshot_cache import SnapshotCache
from control_plane.xds.variants import ChooseVariant

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StreamServices:
    """What all streams of a server share."""

    cache: SnapshotCache
    fleet: Fleet
    limits: Limits
    probe: RevisionProbe | None
    """None: no other replica can have sent a node anything."""
    count_sent: Callable[[int], None]
    """Called with the bytes of resources in each response."""
    choose: ChooseVariant
    """Returns which variant of the snapshots a node gets."""
    wake_node: Callable[[str], None]
    """Wakes all streams of a node."""


class _Awaited(Enum):
    """What a node that has just come may have to wait for before it is sent anything."""

    REVISION = "the proof that the snapshot is not an old one"
    VARIANT = "its variant, which is being made"


class Stream:
    """One open stream. Only its method `run` waits."""

    def __init__(
        self,
        services: StreamServices,
        session: DeltaSession | SotwSession,
        context: grpc.aio.ServicerContext[Any, bytes],
        implied_type: str,
        first: Any = None,
    ) -> None:
        """Make a stream that `run` serves.

        Args:
            services: What all streams share.
            session: The state machine of this stream.
            context: The call.
            implied_type: The type of a single-type service; empty for ADS.
            first: A request that somebody has read from the call already.
        """
        self._services = services
        self._fleet, self._limits = services.fleet, services.limits
        self._session = session
        self._context = context
        self._implied_type = implied_type
        self._first = first
        self._group = ""
        self._loop = asyncio.get_running_loop()
        self._end = StreamEnd()
        self._sender = Sender(
            context,
            delta_bytes if isinstance(session, DeltaSession) else sotw_bytes,
            self._limits.response_bytes,
            spawn=self._end.spawn,
            count_sent=services.count_sent,
            on_pushed=self._fleet.pushed,
        )
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        """The session's deadline for which the timer is set."""
        self._floor: RevisionFloor | None = None
        self._confirming: asyncio.Task[None] | None = None
        self._awaited: set[_Awaited] = set()
        self._variant: StreamVariant | None = None
        """None until the first request has said whose stream it is."""
        self._variant_late: asyncio.TimerHandle | None = None
        self._nack_log = NackLog()
        self.node_id: str | None = None
        """None until the first request has said it."""

    async def run(self) -> None:
        """Serve until the client leaves or `end` is called.

        Raises:
            ProtocolError: The client broke the protocol, or did not say who it is in time.
            ResponseTooLarge: A response is over the limit.
        """
        hello_timeout_s = self._limits.hello_timeout_s
        self._timer = self._loop.call_later(hello_timeout_s, self._no_hello, hello_timeout_s)
        reader = asyncio.create_task(self._read())
        try:
            ended = self._end.future
            await asyncio.wait({reader, ended}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                ended.result()
            else:
                reader.result()
        except ProtocolError:
            await self._sender.stop()
            raise
        finally:
            self._stop_timers()
            tasks = (reader, self._sender.task, self._confirming)
            open_tasks = [task for task in tasks if task is not None]
            for task in open_tasks:
                task.cancel()
            # The fleet is told before anything is awaited: gRPC may cancel us (again) there.
            if self._variant is not None and not ended.done():
                self._variant.client_left(self._session)
            if self.node_id is not None:
                self._fleet.disconnected(self.node_id, self._session)
            self._end.future.cancel()
            await asyncio.gather(*open_tasks, return_exceptions=True)

    def end(self, error: BaseException | None = None) -> None:
        """End the stream, with an error if one is given."""
        self._end.end(error)

    def wake(self) -> None:
        """Send what a newer snapshot changes."""
        if self.node_id is not None:
            self._guarded(self._take_snapshot)

    @property
    def shrink_reason(self) -> str:
        """Why this node is held back, if it would lose most of what it has."""
        return self._session.shrink_reason

    def _guarded(self, step: Callable[[], None]) -> None:
        """Take a step that a loop over all streams calls: if it fails, only this stream ends."""
        try:
            step()
        except Exception as error:
            log.exception("%s: its stream has failed", self.node_id)
            self.end(error)

    # Requests

    async def _read(self) -> None:
        """Handle requests until the client closes its side, and answer all of them."""
        if self._first is not None:
            self._handle(self._first)
        # To iterate over the requests would cost more: that is a generator around this read.
        while (request := await self._context.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]
            self._handle(request)
        if self._confirming is not None:
            # Nothing is sent before the confirmation.
            await asyncio.wait({self._confirming}, timeout=self._limits.confirm_timeout_s)
        await self._sender.empty()

    def _handle(self, request: Any) -> None:
        check_request(request, self._implied_type, self._limits.names_per_request)
        if self.node_id is None:
            self._identify(request)
        elif request.HasField("node"):
            check_same_node(request.node, self.node_id, self._group)
        responses = self._session.on_request(request)
        if self._session.nacks:
            responses += self._after_nack()
        self._send(responses)
        self._report()

    def _after_nack(self) -> list[Response]:
        """Go on with the plain variant where the client can't run its own.

        This comes before the fleet is told of the NACK, so that nobody who waits for a revision
        hears of a refusal that is over already.
        """
        if self._variant is None or not self._variant.falls_back(self._session):
            return []
        self._loop.call_soon(self._services.wake_node, self.node_id or "")
        return self._session.on_snapshot(self._variant.snapshot())

    def _identify(self, request: Any) -> None:
        """Take the node that the first request names, and join the fleet."""
        node = request.node
        check_node(node)
        if self._fleet.streams_of(node.id) >= self._limits.streams_per_node:
            raise ClientLimitExceeded(
                f"node {node.id!r} has {self._limits.streams_per_node} streams open already: "
                "end some, or give each Envoy a node.id of its own"
            )
        self._group = node.cluster
        services = self._services
        variant = StreamVariant.of(request, services.cache, self._fleet, services.choose)
        self._variant = variant
        self._session.on_snapshot(variant.snapshot())
        self._session.take_over(self._fleet.unsettled(node.id))
        version = envoy_version(node)
        peer = str(self._context.peer())
        self._fleet.connected(node.id, node.cluster, version, self._session, variant.served, peer)
        self.node_id = self._sender.node_id = node.id
        if services.probe is not None:
            self._awaited.add(_Awaited.REVISION)
            self._floor = RevisionFloor(services.probe)
            self._confirming = self._end.spawn(self._confirm(self._floor, node.id))
        if variant.is_coming:
            self._awaited.add(_Awaited.VARIANT)
            self._variant_late = self._loop.call_later(
                self._limits.variant_timeout_s, self._guarded, self._give_up_variant
            )
        if self._awaited:
            self._session.await_confirmation()
        self._disarm()

    def _no_hello(self, limit_s: float) -> None:
        self.end(ProtocolError(f"no request with a node came in {limit_s:g} s"))

    # Snapshots

    def _take_snapshot(self) -> None:
        assert self._variant is not None
        started = time.perf_counter()
        snapshot = self._variant.snapshot()
        responses = self._session.on_snapshot(snapshot)
        if self._floor is not None and self._floor.reached_by(snapshot.revision):
            responses += self._came(_Awaited.REVISION)
        if self._awaited and not self._variant.is_coming:
            responses += self._came(_Awaited.VARIANT)
        self._send(responses, started)
        self._report()

    def _came(self, awaited: _Awaited) -> list[Response]:
        """Wait no longer for one thing; once nothing is left to wait for, let the session go on."""
        if awaited not in self._awaited:
            return []
        self._awaited.discard(awaited)
        if awaited is _Awaited.VARIANT and self._variant_late is not None:
            self._variant_late.cancel()
        return [] if self._awaited else self._session.confirmed()

    def _give_up_variant(self) -> None:
        log.warning("%s: its variant was not made in time: it gets the plain one", self.node_id)
        self._send(self._came(_Awaited.VARIANT))
        self._report()

    async def _confirm(self, floor: RevisionFloor, node_id: str) -> None:
        """Let the session go on once the snapshot is known to be current."""
        late = self._loop.call_later(
            self._limits.confirm_timeout_s, self._guarded, self._confirm_late
        )
        try:
            await floor.learn(node_id)
            self.wake()
            await floor.reached()
        finally:
            late.cancel()

    def _confirm_late(self) -> None:
        floor = self._floor.revision if self._floor is not None else None
        log.warning(
            "%s: the snapshot has not reached revision %s in time", self.node_id, floor or "unknown"
        )
        self._send(self._session.confirmation_late())
        self._report()

    # The session's deadlines

    def _arm(self) -> None:
        """Set the timer for the session's next deadline."""
        wake_at = self._session.wake_at
        if wake_at == self._timer_at:
            return
        self._disarm()
        if wake_at is not None:
            self._timer_at = wake_at
            self._timer = self._loop.call_later(
                max(0.0, wake_at - time.monotonic()), self._guarded, self._on_time
            )

    def _stop_timers(self) -> None:
        self._disarm()
        if self._variant_late is not None:
            self._variant_late.cancel()

    def _disarm(self) -> None:
        self._timer_at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_time(self) -> None:
        self._timer = self._timer_at = None
        gate = self._session.gate
        responses = self._session.on_time()
        if self._session.gate is Gate.OPEN and gate is Gate.SHUT:
            log.warning("%s: no answer in time; going on with other types", self.node_id)
        self._send(responses)
        self._report()

    # What comes of a step

    def _send(self, responses: Sequence[Response], snapshot_at: float | None = None) -> None:
        self._sender.send(responses, snapshot_at)
        self._arm()

    def _report(self) -> None:
        """Log the client's NACKs, and tell the fleet what the step has changed."""
        if self.node_id is not None:
            session = self._session
            if session.nacks:
                self._nack_log.record(self.node_id, session.nacks, session.acked_revision)
            if self._variant is not None:
                self._variant.heard(session)
            self._fleet.heard(self.node_id, session)
