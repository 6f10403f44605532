"""The gRPC port, which the roles ``xds``, ``topology`` and ``classifier`` share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection

from control_plane.grpc_api.auth.identity import BadPattern, NamePatterns, Role
from control_plane.grpc_api.auth.tls import TlsFiles
from control_plane.grpc_api.metrics import GrpcMetrics
from control_plane.grpc_api.server.peers import PeerLimits
from control_plane.grpc_api.server.port import GrpcPort, Security
from control_plane.server.foundation import Foundation
from control_plane.settings import GRPC_PORT, BadSetting, Settings
from control_plane.xds.server.transport import grpc_options

log = logging.getLogger(__name__)
GRACE_S = 2.0
"""How long streams and requests may take to end at shutdown."""
HEALTH_SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
LOOPBACK_ONLY = (
    "gRPC listens on loopback only, since it has no TLS: set --grpc-tls-certificate, -key and "
    "-client-ca (or CELLWAY_GRPC_TLS_…), or CELLWAY_GRPC_PLAINTEXT_BEYOND_LOOPBACK=true"
)


class GrpcListener:
    """A gRPC server: bound first, then given the services of each role, then started.

    Health and reflection show the services that were announced; reflection only those of protobuf.
    """

    def __init__(self, foundation: Foundation) -> None:
        """Raise OSError if the TLS files can't be used."""
        settings = foundation.settings
        self.counts = GrpcMetrics(foundation.metrics.registry)
        """For services that count their calls."""
        self._settings = settings
        self._listening = GrpcPort(
            security_of(settings),
            self.counts,
            grpc_options(),
            max_rpcs=settings.grpc_max_rpcs,
            peer_limits=PeerLimits(
                certificate=settings.grpc_max_rpcs_per_certificate,
                address=settings.grpc_max_rpcs_per_address,
            ),
        )
        if self._listening.tls is not None:
            foundation.metrics.tls.watch("grpc", self._listening.tls.usable)
        self._services = [HEALTH_SERVICE, reflection.SERVICE_NAME]
        self._undescribed: list[str] = []
        """Services that reflection does not show."""
        self._health = HealthServicer()
        self._end_streams: list[Callable[[], None]] = []
        self.server = self._listening.server
        self.port = 0
        """Where it listens; 0 before `bind`."""

    def announce(
        self,
        services: Iterable[str],
        end_streams: Callable[[], None] | None = None,
        *,
        described: bool = True,
    ) -> None:
        """Name services that were added to the server.

        Args:
            services: Their full names.
            end_streams: Is called when the server stops, to end streams that would last for ever.
            described: Whether their messages are protobuf's, so that reflection can describe them.
        """
        (self._services if described else self._undescribed).extend(services)
        if end_streams is not None:
            self._end_streams.append(end_streams)

    def bind(self) -> None:
        """Take the port. Clients that connect wait until `start`.

        Raises:
            OSError: the port is taken, or there is no such address.
        """
        settings = self._settings
        if settings.grpc_host != settings.host:
            log.warning("%s", LOOPBACK_ONLY)
        self.port = self._listening.bind(settings.grpc_host, settings.grpc_port, GRPC_PORT)

    async def start(self) -> None:
        """Serve what was announced."""
        for name in ("", *self._services, *self._undescribed):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.server)
        reflection.enable_server_reflection(self._services, self.server)
        await self.server.start()

    async def stop(self) -> None:
        """Tell health watchers, end streams, and give calls `GRACE_S` to end."""
        await self._health.enter_graceful_shutdown()
        for end in self._end_streams:
            end()
        await self.server.stop(GRACE_S)


def security_of(settings: Settings) -> Security | None:
    """Return the files and names of mutual TLS; None if gRPC is to be plaintext.

    Raises:
        BadSetting: a pattern of names can't be used.
    """
    try:
        names = NamePatterns(
            {Role(role): patterns for role, patterns in settings.grpc_names().items()}
        )
    except BadPattern as error:
        raise BadSetting(str(error)) from error
    if settings.grpc_tls is None:
        return None
    certificate, key = settings.grpc_tls
    return Security(TlsFiles(certificate, key, settings.grpc_authorities()), names)
