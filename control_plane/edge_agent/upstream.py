"""The agent's connection to the control plane: ADS, reports, and health checks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any
from weakref import WeakKeyDictionary

import grpc
from envoy.service.discovery.v3 import ads_pb2, discovery_pb2
from envoy.service.health.v3 import hds_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from control_plane.edge_agent.channels import Channels, ClientTls
from control_plane.names import OWNERS_SERVICE
from control_plane.xds.server.transport import MAX_SENT_BYTES

ADS = ads_pb2.DESCRIPTOR.services_by_name["AggregatedDiscoveryService"].full_name
HDS = hds_pb2.DESCRIPTOR.services_by_name["HealthDiscoveryService"].full_name
ANSWER_S = 1.0
"""How long the control plane may take to say that it serves."""
PROBE_S = 0.5
"""How often a control plane that does not serve is asked again."""
STATUS_S = 1.0
"""How long the true status of a stream may take to come; see `final_status`."""
_DETAILS_OF_A_FAILED_WRITE = "Internal error from Core"
_noted: WeakKeyDictionary[Any, tuple[grpc.StatusCode, str]] = WeakKeyDictionary()
"""How calls have ended; see `note_status`."""
KEEPALIVE_S = 10.0
"""How often a silent connection is pinged. The control plane allows pings twice as often."""
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_SENT_BYTES),
    # Without this, gRPC goes through http_proxy even to this machine.
    ("grpc.enable_http_proxy", 0),
    # A dead control plane is noticed sooner than Envoy would, so that a restarted Envoy does not
    # wait for one that hangs.
    ("grpc.keepalive_time_ms", round(KEEPALIVE_S * 1000)),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # This is how long one attempt to connect may take at least, which its name does not say.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 500),
)


class ControlPlane:
    """The control plane at ``host:port``, for the event loop in which it was made.

    Raises:
        OSError: A TLS file can't be used.
    """

    def __init__(
        self,
        target: str,
        tls: ClientTls | None = None,
        tls_failed: Callable[[], None] = lambda: None,
    ) -> None:
        """Connect when the first call comes.

        Args:
            target: ``host:port``.
            tls: The files of mutual TLS; None for plaintext.
            tls_failed: Is called when the files were replaced by ones that can't be used.
        """
        self.target = target
        self._channels = Channels(target, tls, _OPTIONS, tls_failed)
        self.trouble = ""
        """Why the control plane did not serve when it was last asked; empty if it did."""

    def tls_usable(self) -> bool:
        """Return whether the TLS files can be used as they are now. Threads may call it."""
        return self._channels.usable()

    async def serves(self) -> bool:
        """Return whether it answers within `ANSWER_S` that it serves ADS."""
        try:
            call = self._channels.open(
                lambda channel: health_pb2_grpc.HealthStub(channel).Check(
                    health_pb2.HealthCheckRequest(service=ADS), timeout=ANSWER_S
                )
            )
            answer = await call
        except grpc.aio.AioRpcError as error:
            self.trouble = f"{error.code().name}: {error.details()}"
            return False
        serving: bool = answer.status == health_pb2.HealthCheckResponse.SERVING
        self.trouble = "" if serving else "it says that it does not serve"
        return serving

    async def until_serves(self) -> None:
        """Wait until it serves; ask every `PROBE_S`."""
        while True:
            if await self.serves():
                return
            await asyncio.sleep(PROBE_S)

    def stream(self) -> Any:
        """Open a delta ADS call: it takes DeltaDiscoveryRequests and yields bytes."""
        return self._stream(
            f"/{ADS}/DeltaAggregatedResources",
            discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
        )

    def report_stream(self) -> Any:
        """Open a call for reports of what an Envoy holds healthy (see `edge_health`)."""
        message = hds_pb2.HealthCheckRequestOrEndpointHealthResponse
        return self._stream(f"/{HDS}/StreamHealthCheck", message.SerializeToString)

    def owners_stream(self) -> Any:
        """Open a call of the owners stream (see `owners.frames`): it takes and yields bytes."""
        return self._stream(f"/{OWNERS_SERVICE}/Follow", bytes)

    def _stream(self, method: str, serializer: Callable[[Any], bytes]) -> Any:
        def start(channel: grpc.aio.Channel) -> Any:
            opening: Any = channel.stream_stream(
                method, request_serializer=serializer, response_deserializer=None
            )
            return opening()

        call = self._channels.open(start)
        note_status(call)
        return call

    async def close(self) -> None:
        """Close the channels."""
        await self._channels.close()


def note_status(call: Any) -> None:
    """Have `final_status` know how a call has ended, whatever a write does to it later.

    grpc.aio runs the callbacks of a call when its status comes. A write that fails after that
    replaces the status by one that says nothing (``set_internal_error`` in grpc/aio/_call.py), for
    good. So the status is read within the callback.
    """
    call.add_done_callback(_note)


def _note(call: Any) -> None:
    told = _told_now(call.code()), _told_now(call.details()) or ""
    if told[1] != _DETAILS_OF_A_FAILED_WRITE:
        _noted[call] = told


def _told_now(answer: Coroutine[Any, Any, Any]) -> Any:
    """Return what a coroutine that waits for nothing returns: the status is there."""
    try:
        answer.send(None)
    except StopIteration as returned:
        return returned.value
    answer.close()
    raise RuntimeError("a call that has ended has no status")


async def final_status(call: Any) -> tuple[grpc.StatusCode, str]:
    """Return the status with which the other side has ended a call, and its text.

    If a write fails because the call has ended, grpc.aio shows a status of its own. The true one
    is what `note_status` has noted, or comes soon: it is waited for, at most `STATUS_S`.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STATUS_S):
            while call not in _noted and await call.details() == _DETAILS_OF_A_FAILED_WRITE:  # noqa: ASYNC110 - gRPC has none
                await asyncio.sleep(0.01)
    if call in _noted:
        return _noted[call]
    return await call.code(), await call.details() or ""
