"""The role ``api``: the REST API for operators, ``/metrics`` and ``POST /v1/classify``."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from fastapi import FastAPI

from control_plane.api.app import create_app
from control_plane.api.oidc.provider import Provider
from control_plane.api.oidc.verifier import OidcVerifier
from control_plane.api.state import EnvoyAddresses
from control_plane.grpc_api.metrics import gateway_counter
from control_plane.grpc_api.services.gateway import CacheTimes, Gateway
from control_plane.process.embedded_server import embedded, run
from control_plane.process.http_limits import HttpLimits, OpenConnections
from control_plane.process.listening import bind, port_of
from control_plane.process.server_tls import ServerTls
from control_plane.server.foundation import Foundation
from control_plane.server.plane import Running
from control_plane.server.scrape import Scrape
from control_plane.server.topology_role import TopologyAccess
from control_plane.settings import API_PORT, Settings
from control_plane.topology import Scope


@dataclass(frozen=True, slots=True)
class ApiRole:
    """The REST API and what it reads the metrics with."""

    port: int
    app: FastAPI
    scrape: Scrape
    oidc: OidcVerifier | None

    @classmethod
    def start(cls, foundation: Foundation, access: TopologyAccess, plane: Running) -> ApiRole:
        """Listen and serve; raises OSError if the port is taken or the TLS files can't be used.

        Args:
            foundation: The parts below.
            access: What ``POST /v1/classify`` reads through.
            plane: Whose alarms are shown.
        """
        settings = foundation.settings
        sock = bind(settings.host, settings.api_port, API_PORT)
        scrape = Scrape.of(foundation, plane.publication_alarm)
        provider = provider_of(settings)
        oidc = None if provider is None else OidcVerifier(provider, foundation.metrics.oidc)
        if oidc is not None:
            foundation.tasks.start("OIDC keys", oidc.prefetch)
        app = create_app(
            foundation.topology,
            foundation.fleet,
            metrics=scrape.text,
            alarm=plane.alarm,
            token=settings.admin_token,
            hosts=settings.api_hosts,
            oidc=oidc,
            refused=foundation.metrics.api.refused,
            gateway=_gateway(foundation, access),
            edges=foundation.edges,
            server=None if plane.xds_role is None else plane.xds_role.server_id,
            addresses=_addresses(plane),
            edge_maps=dict if plane.xds_role is None else plane.xds_role.owners.tables,
        )
        most = settings.api_max_connections
        limits = HttpLimits(connections=most, connections_of_peer=most // 2)
        connections = OpenConnections(limits, foundation.metrics.api.refused)
        files = api_tls(settings)
        tls = None if files is None else files.context()
        if files is not None:
            foundation.metrics.tls.watch("api", files.watched().usable)
        server = embedded(app, connections=connections, tls=tls)
        serving = functools.partial(run, server, sock)
        foundation.tasks.start("API server", serving, vital=True)
        return cls(port_of(sock), app, scrape, oidc)

    async def stop(self) -> None:
        """Break off operations after their present transaction; the tasks end the server itself."""
        await self.app.state.operations.close()
        await self.scrape.close()
        if self.oidc is not None:
            await self.oidc.close()


def _addresses(plane: Running) -> EnvoyAddresses:
    told = plane.advertised
    if told is None:
        return EnvoyAddresses()
    return EnvoyAddresses(told.xds, tuple(str(one) for one in told.classifiers))


def api_tls(settings: Settings) -> ServerTls | None:
    """Return the files of the API's TLS; None if it is to be plaintext."""
    return None if settings.api_tls is None else ServerTls(*settings.api_tls)


def _gateway(foundation: Foundation, access: TopologyAccess) -> Gateway:
    settings = foundation.settings
    times = CacheTimes(settings.classify_max_age_s, settings.classify_negative_max_age_s)
    called = gateway_counter(foundation.metrics.registry)
    return Gateway(access.live, times, called, access.pools.lookups)


def provider_of(settings: Settings) -> Provider | None:
    """Return the OpenID Connect issuer whose tokens the API takes; None if there is none."""
    if settings.oidc_issuer is None or settings.oidc_jwks is None:
        return None
    return Provider(
        issuer=settings.oidc_issuer,
        audiences=settings.oidc_audiences,
        jwks=settings.oidc_jwks,
        scopes={Scope(scope): values for scope, values in settings.oidc_scopes.items()},
        scope_claim=settings.oidc_scope_claim,
        name_claim=settings.oidc_name_claim,
        algorithms=settings.oidc_algorithms,
        clock_skew_s=settings.oidc_clock_skew_s,
    )
