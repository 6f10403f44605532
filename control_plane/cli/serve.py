"""``cellway serve``: the control plane, without an Envoy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from control_plane.cli.options import DatabaseUrl, DataDir, NewDatabase, port_option, with_options

TlsFile = Annotated[Path | None, typer.Option(help="PEM; all of --grpc-tls-… or none")]


@dataclass(frozen=True, kw_only=True)
class PlaneOptions:
    """Options of a control plane; None: not given, so that environment or cellway.toml says it."""

    data_dir: DataDir = None
    database_url: DatabaseUrl = None
    redis_url: Annotated[
        str | None,
        typer.Option(help="redis://…, where classifiers on PostgreSQL share look-ups"),
    ] = None
    api_port: Annotated[int | None, port_option("the REST API, default 8000")] = None
    grpc_port: Annotated[int | None, port_option("gRPC (xDS), default 18000")] = None
    classifier_port: Annotated[int | None, port_option("the classifier, default 18001")] = None
    classifier_workers: Annotated[
        int | None,
        typer.Option(min=0, max=64, help="classifier processes; 0: the server's own answers"),
    ] = None
    classifier_protocol: Annotated[
        str | None, typer.Option(help="how Envoys ask the classifier: http, or grpc (ext_authz)")
    ] = None
    edge_port: Annotated[int | None, port_option("the edge (Envoy), default 10000")] = None
    edge_host: Annotated[
        str | None, typer.Option(help="IP address that Envoys listen on; default: 127.0.0.1")
    ] = None
    new_database: NewDatabase = None
    force_shrink: Annotated[
        bool | None, typer.Option(help="publish although most cells are gone; use it once")
    ] = None


@dataclass(frozen=True, kw_only=True)
class ServeOptions(PlaneOptions):
    """Options of ``cellway serve``."""

    roles: Annotated[str | None, typer.Option(help="default: api,xds,classifier,topology")] = None
    host: Annotated[str | None, typer.Option(help="address to listen on; default: 127.0.0.1")] = (
        None
    )
    api_tls_certificate: Annotated[
        Path | None, typer.Option(help="PEM, with its chain; with --api-tls-key: https")
    ] = None
    api_tls_key: Annotated[Path | None, typer.Option(help="PEM, not encrypted")] = None
    api_tls_client_ca: Annotated[
        Path | None, typer.Option(help="PEM: who signs the certificates that the API asks for")
    ] = None
    advertise_host: Annotated[
        str | None,
        typer.Option(help="IP address or name by which Envoys elsewhere reach us; default: --host"),
    ] = None
    xds_address: Annotated[
        str | None, typer.Option(help="host:port by which they reach gRPC, if it is another")
    ] = None
    classifier_addresses: Annotated[
        str | None, typer.Option(help="host:port,… of all classifiers that they ask; default: ours")
    ] = None
    grpc_tls_certificate: TlsFile = None
    grpc_tls_key: TlsFile = None
    grpc_tls_client_ca: Annotated[
        Path | None, typer.Option(help="PEM: who signs the certificates of gRPC's clients")
    ] = None
    grpc_plaintext_beyond_loopback: Annotated[
        bool | None, typer.Option(help="without TLS, let gRPC listen on --host, not on loopback")
    ] = None


@with_options(ServeOptions)
def serve(options: ServeOptions) -> None:
    """Run the control plane until a signal comes. It runs no Envoy.

    gRPC uses mutual TLS if the three --grpc-tls-… files are given. An option that is not given is
    read from its variable, such as CELLWAY_API_PORT, or from cellway.toml.
    """
    from control_plane.cli.local.settings import settings_of
    from control_plane.cli.local.system import serve_here

    lists = {
        "roles": tuple(options.roles.split(",")) if options.roles else None,
        "classifier_addresses": tuple((options.classifier_addresses or "").split(","))
        if options.classifier_addresses
        else None,
    }
    serve_here(settings_of(**asdict(options) | lists))
