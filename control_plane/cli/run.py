"""``cellway up``, ``serve`` and ``envoy bootstrap``: what runs here instead of calling.

What they need is imported when they run: the other commands should start fast.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from control_plane.cli.client import Exit, Failure
from control_plane.cli.context import of
from control_plane.cli.output import Format, show
from control_plane.names import NODE_NAME

if TYPE_CHECKING:
    from control_plane.settings import Settings

envoy = typer.Typer(no_args_is_help=True, help="Envoys that join the fleet.")
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="0: any free one")]
TlsFile = Annotated[Path | None, typer.Option(help="PEM file on the Envoy's machine")]
RedisUrl = Annotated[str | None, typer.Option(help="redis://…: classifiers share look-ups")]
ServerFile = Annotated[
    Path | None, typer.Option(help="PEM file; goes with the others of --grpc-tls-…")
]
DatabaseUrl = Annotated[str | None, typer.Option(help="sqlite:///… or postgresql://…")]


def settings_of(**given: Any) -> Settings:
    """Settings from flags (None: not given), environment and cellway.toml."""
    from pydantic import ValidationError

    from control_plane.settings import Settings

    try:
        return Settings(**{key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise Failure("the configuration is wrong\n  " + "\n  ".join(lines), Exit.USAGE) from error


def start_logging() -> None:
    """Log to standard error, as a server does."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for noisy in ("alembic", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def serve_command(
    roles: Annotated[str | None, typer.Option(help="api,xds,classifier,topology")] = None,
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    host: Annotated[str | None, typer.Option(help="where to listen")] = None,
    api_port: Port = None,
    grpc_port: Port = None,
    classifier_port: Port = None,
    classifier_workers: Annotated[int | None, typer.Option(min=0, max=64)] = None,
    classifier_protocol: Annotated[str | None, typer.Option(help="http or grpc")] = None,
    edge_port: Port = None,
    grpc_tls_certificate: ServerFile = None,
    grpc_tls_key: ServerFile = None,
    grpc_tls_client_ca: Annotated[
        Path | None, typer.Option(help="PEM: who signs the certificates of gRPC's clients")
    ] = None,
    grpc_plaintext_beyond_loopback: Annotated[
        bool | None, typer.Option(help="gRPC without TLS on --host, whatever that is")
    ] = None,
    force_shrink: Annotated[bool | None, typer.Option(help="publish a shrunk fleet")] = None,
) -> None:
    """Run the control plane (without an Envoy). With gRPC's three TLS files: mutual TLS."""
    start_logging()
    settings = settings_of(
        roles=tuple(roles.split(",")) if roles else None,
        database_url=database_url,
        redis_url=redis_url,
        host=host,
        api_port=api_port,
        grpc_port=grpc_port,
        classifier_port=classifier_port,
        classifier_workers=classifier_workers,
        classifier_protocol=classifier_protocol,
        edge_port=edge_port,
        grpc_tls_certificate=grpc_tls_certificate,
        grpc_tls_key=grpc_tls_key,
        grpc_tls_client_ca=grpc_tls_client_ca,
        grpc_plaintext_beyond_loopback=grpc_plaintext_beyond_loopback,
        force_shrink=force_shrink,
    )
    from control_plane.cli import local

    local.serve_here(settings)


def up_command(
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    edge_port: Port = None,
    envoy_admin_port: Port = None,
    api_port: Port = None,
    grpc_port: Port = None,
    classifier_port: Port = None,
    classifier_workers: Annotated[int | None, typer.Option(min=0, max=64)] = None,
    classifier_protocol: Annotated[str | None, typer.Option(help="http or grpc")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="database and Envoy's files")] = None,
    drain_s: Annotated[
        float | None, typer.Option(min=0, help="seconds for requests under way at the end")
    ] = None,
    force_shrink: Annotated[bool | None, typer.Option(help="publish a shrunk fleet")] = None,
) -> None:
    """Run everything on this machine, Envoy included."""
    start_logging()
    settings = settings_of(
        database_url=database_url,
        redis_url=redis_url,
        edge_port=edge_port,
        envoy_admin_port=envoy_admin_port,
        api_port=api_port,
        grpc_port=grpc_port,
        classifier_port=classifier_port,
        classifier_workers=classifier_workers,
        classifier_protocol=classifier_protocol,
        data_dir=data_dir,
        drain_s=drain_s,
        force_shrink=force_shrink,
    )
    from control_plane.cli import local

    local.up_here(settings)


@envoy.command("bootstrap")
def envoy_bootstrap(
    ctx: typer.Context,
    node_id: Annotated[str, typer.Option(help="unique in the fleet")],
    group: Annotated[str, typer.Option(help="node cluster")] = "edge",
    xds: Annotated[str, typer.Option(help="host:port of the control plane")] = "127.0.0.1:18000",
    admin_port: Annotated[int, typer.Option(min=0, max=65535)] = 9901,
    sotw: Annotated[bool, typer.Option(help="state of the world instead of delta")] = False,
    tls_certificate: TlsFile = None,
    tls_key: TlsFile = None,
    tls_ca: TlsFile = None,
    tls_server_name: Annotated[str | None, typer.Option(help="default: the host of --xds")] = None,
) -> None:
    """Print a bootstrap for a fleet member (JSON)."""
    host, colon, port = xds.rpartition(":")
    if not NODE_NAME.match(node_id) or not NODE_NAME.match(group):
        mend = "1 to 256 visible ASCII characters"
        raise Failure(f"--node-id {node_id!r} or --group {group!r} is no name: {mend}", Exit.USAGE)
    if not colon or not port.isdigit():
        raise Failure(f"--xds {xds!r} is not host:port", Exit.USAGE)
    files = (tls_certificate, tls_key, tls_ca)
    if any(files) and not all(files):
        raise Failure("--tls-certificate, --tls-key and --tls-ca belong together", Exit.USAGE)
    from control_plane.cli import local

    host = host.removeprefix("[").removesuffix("]")
    tls = local.member_tls(files, tls_server_name or host)
    text = local.bootstrap(node_id, group, host, int(port), admin_port, sotw=sotw, tls=tls)
    if of(ctx).output is Format.YAML:
        show(json.loads(text), Format.YAML)
    else:
        print(text)
