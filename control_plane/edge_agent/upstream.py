"""The control plane as the agent reaches it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from envoy.service.discovery.v3 import ads_pb2, discovery_pb2
from envoy.service.health.v3 import hds_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from control_plane.xds.server.transport import MAX_SENT_BYTES

ADS = ads_pb2.DESCRIPTOR.services_by_name["AggregatedDiscoveryService"].full_name
HDS = hds_pb2.DESCRIPTOR.services_by_name["HealthDiscoveryService"].full_name
ANSWER_S = 1.0
"""How long a control plane that runs may take to say so."""
PROBE_S = 0.5
"""How often one that does not is asked again."""
STATUS_S = 1.0
"""How long the status of a stream whose end a write has met may still take to come."""
_MET_BY_A_WRITE = "Internal error from Core"
KEEPALIVE_S = 10.0
"""How often a silent connection is pinged; the control plane allows twice as many."""
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_SENT_BYTES),
    # Silence is broken sooner than Envoy would: a restarted one must not wait for a frozen one.
    ("grpc.keepalive_time_ms", round(KEEPALIVE_S * 1000)),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # As its name does not say: how long one attempt to connect may take at least.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 500),
)


@dataclass(frozen=True, slots=True)
class ClientTls:
    """PEM files: the node's certificate and key, and the authority of the control plane.

    ``server_name`` is a DNS name in the control plane's certificate.
    """

    certificate: Path
    key: Path
    ca: Path
    server_name: str


class ControlPlane:
    """One gRPC channel to ``host:port``; used in the event loop that it is made in.

    Raises:
        OSError: a TLS file can't be read.
    """

    def __init__(self, target: str, tls: ClientTls | None = None) -> None:
        self.target = target
        if tls is None:
            self._channel = grpc.aio.insecure_channel(target, options=_OPTIONS)
        else:
            credentials = grpc.ssl_channel_credentials(
                tls.ca.read_bytes(), tls.key.read_bytes(), tls.certificate.read_bytes()
            )
            named = (("grpc.ssl_target_name_override", tls.server_name),)
            self._channel = grpc.aio.secure_channel(target, credentials, options=_OPTIONS + named)
        self._health = health_pb2_grpc.HealthStub(self._channel)
        self._open: Any = self._channel.stream_stream(
            f"/{ADS}/DeltaAggregatedResources",
            request_serializer=discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
            response_deserializer=None,
        )
        message = hds_pb2.HealthCheckRequestOrEndpointHealthResponse
        self._report: Any = self._channel.stream_stream(
            f"/{HDS}/StreamHealthCheck",
            request_serializer=message.SerializeToString,
            response_deserializer=None,
        )
        self.trouble = ""
        """Why it was not there when last asked; empty: it was."""

    async def serves(self) -> bool:
        """Whether it answers, in `ANSWER_S`, that it serves ADS."""
        try:
            answer = await self._health.Check(
                health_pb2.HealthCheckRequest(service=ADS), timeout=ANSWER_S
            )
        except grpc.aio.AioRpcError as error:
            self.trouble = f"{error.code().name}: {error.details()}"
            return False
        serving: bool = answer.status == health_pb2.HealthCheckResponse.SERVING
        self.trouble = "" if serving else "it says that it does not serve"
        return serving

    async def until_serves(self) -> None:
        """Ask every `PROBE_S` until it does."""
        while True:
            if await self.serves():
                return
            await asyncio.sleep(PROBE_S)

    def stream(self) -> Any:
        """A delta ADS call: takes DeltaDiscoveryRequests, gives bytes."""
        return self._open()

    def report_stream(self) -> Any:
        """A call that takes what an Envoy holds healthy (see `edge_health.report`)."""
        return self._report()

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close(None)


async def final_status(call: Any) -> tuple[grpc.StatusCode, str]:
    """The status that the other side has ended a call with, and its text.

    A write that meets the end makes grpc.aio put a status of its own there, which says nothing,
    until the true one is read (``set_internal_error`` in grpc/aio/_call.py): within `STATUS_S`.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STATUS_S):
            while await call.details() == _MET_BY_A_WRITE:  # noqa: ASYNC110 - gRPC has none
                await asyncio.sleep(0.01)
    return await call.code(), await call.details() or ""
