"""The gRPC port: with mutual TLS and access rules for every method, or in plaintext."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from control_plane.grpc_api.auth.access import access_for
from control_plane.grpc_api.auth.callers import Callers
from control_plane.grpc_api.auth.guard import AccessGuard
from control_plane.grpc_api.auth.identity import NamePatterns
from control_plane.grpc_api.auth.tls import ReloadingTls, TlsFiles
from control_plane.grpc_api.metrics import GrpcMetrics
from control_plane.grpc_api.server.peers import PeerGuard, PeerLimits
from control_plane.process.listening import check_free, host_port, numeric


@dataclass(frozen=True, slots=True)
class Security:
    """The files of mutual TLS, and the patterns that say whom client certificates name."""

    files: TlsFiles
    names: NamePatterns


class GrpcPort:
    """A server and its one port. Without ``security``, everybody may call everything."""

    def __init__(
        self,
        security: Security | None,
        metrics: GrpcMetrics,
        options: Sequence[tuple[str, Any]],
        *,
        max_rpcs: int | None = None,
        peer_limits: PeerLimits | None = None,
    ) -> None:
        """Make the server.

        Args:
            security: None for plaintext.
            metrics: Counts refused calls and TLS files that can't be used.
            options: gRPC's channel arguments.
            max_rpcs: How many calls and streams may be open at once. Others are refused with
                RESOURCE_EXHAUSTED. None for no limit.
            peer_limits: How many of them one peer may have.

        Raises:
            OSError: The TLS files can't be used.
        """
        self.tls: ReloadingTls | None = None
        """None: the port is plaintext."""
        interceptors: list[Any] = [PeerGuard(peer_limits or PeerLimits(), metrics)]
        if security is not None:
            self.tls = ReloadingTls(security.files, metrics.tls_failed)
            callers = Callers(security.names, self.tls.trust)
            interceptors.append(AccessGuard(callers, access_for, metrics))
        self.server = grpc.aio.server(
            interceptors=interceptors, options=options, maximum_concurrent_rpcs=max_rpcs
        )

    def bind(self, host: str, port: int, setting: str = "another port") -> int:
        """Listen, and return the port.

        Raises:
            OSError: As `control_plane.process.listening.bind` raises it.
        """
        # gRPC itself would only say that it failed, not why.
        check_free(host, port, setting)
        address = host_port(numeric(host), port)
        try:
            if self.tls is None:
                return self.server.add_insecure_port(address)
            return self.server.add_secure_port(address, self.tls.credentials())
        except RuntimeError as error:
            raise OSError(errno.EADDRINUSE, f"gRPC can't listen on {address}") from error
