"""The whole server behind mutual TLS, with certificates of every kind of caller."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

from control_plane.server import Running, running
from control_plane.settings import Settings
from tests.support.certificates import Authority, Pair, channel, replace
from tests.support.plane import add_cells

WAIT_S = 20.0


class Secured:
    """A control plane with TLS, its authority, and a certificate of each kind."""

    def __init__(self, plane: Running, authority: Authority, folder: Path) -> None:
        self.plane = plane
        self.authority = authority
        self.folder = folder
        self.pairs = {
            "cell": authority.sign("spiffe://cellway/cell/3"),
            "router": authority.sign("spiffe://cellway/router"),
            "admin": authority.sign("spiffe://cellway/admin"),
            "node": authority.sign("spiffe://cellway/node/edge/n-1"),
            "nobody": authority.sign("spiffe://elsewhere/cell/3", common="spiffe://cellway/admin"),
            "nameless": authority.sign(),
        }

    async def code(
        self, who: str | Pair | None, method: str, request: bytes = b"", trust: bytes | None = None
    ) -> grpc.StatusCode:
        pair = self.pairs[who] if isinstance(who, str) else who
        port = self.plane.ports.grpc
        async with channel(port, trust or self.authority.pem, pair) as open_channel:
            try:
                await open_channel.unary_unary(method)(request, timeout=WAIT_S)
            except grpc.aio.AioRpcError as error:
                return error.code()
        return grpc.StatusCode.OK

    def metric(self, name: str, **labels: str) -> float:
        return self.plane.registry.get_sample_value(name, labels) or 0


def server_files(folder: Path, authority: Authority, **options: Any) -> None:
    pair = authority.sign(dns=("localhost",), **options)
    for name, content in (("crt", pair.certificate), ("key", pair.key), ("ca", authority.pem)):
        replace(folder / f"server.{name}", content)


@contextlib.asynccontextmanager
async def secured_plane(
    folder: Path, *, authority: Authority | None = None, port: int = 0
) -> AsyncIterator[Secured]:
    authority = authority or Authority()
    server_files(folder, authority)
    settings = Settings(
        database_url=f"sqlite:///{folder}/topology.db",
        roles=("xds", "topology"),
        grpc_port=port,
        health_interval_s=0,
        grpc_tls_certificate=folder / "server.crt",
        grpc_tls_key=folder / "server.key",
        grpc_tls_client_ca=folder / "server.ca",
    )
    async with running(settings) as plane:
        add_cells(plane.topology)
        yield Secured(plane, authority, folder)
