"""``cellway envoy agent``."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated

import typer

from control_plane.cli.client import Exit, Failure
from control_plane.cli.output import messages
from control_plane.cli.serve import start_logging

PemFile = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="PEM")]


def _address(option: str, text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise Failure(f"{option} {text!r} is not host:port", Exit.USAGE)
    return host.strip("[]"), int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def envoy_agent(
    snapshot_dir: Annotated[Path, typer.Option(help="where snapshots are kept; one Envoy's only")],
    xds: Annotated[str, typer.Option(help="host:port of the control plane")] = "127.0.0.1:18000",
    listen: Annotated[
        str, typer.Option(help="loopback address:port that Envoy's bootstrap names as --xds")
    ] = "127.0.0.1:18002",
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="of Prometheus metrics, on loopback")
    ] = None,
    envoy_admin: Annotated[
        str | None,
        typer.Option(help="host:port of Envoy's admin interface: report which endpoints it holds"),
    ] = None,
    tls_certificate: PemFile = None,
    tls_key: PemFile = None,
    tls_ca: PemFile = None,
    tls_server_name: Annotated[
        str | None, typer.Option(help="DNS name in the control plane's certificate")
    ] = None,
) -> None:
    """Run beside one Envoy, so that it can restart while the control plane is dead.

    Passes its configuration through and keeps on disk what it has accepted.
    Its bootstrap: cellway envoy bootstrap --node-id NAME --xds 127.0.0.1:18002
    """
    host, port = _address("--listen", listen)
    _address("--xds", xds)
    admin = None if envoy_admin is None else _address("--envoy-admin", envoy_admin)
    if not _is_loopback(host):
        raise Failure(f"--listen {listen!r}: give a loopback address, 127.0.0.1:18002", Exit.USAGE)
    start_logging()
    from control_plane.edge_agent.agent import AgentSettings, serve
    from control_plane.edge_agent.upstream import ClientTls
    from control_plane.process.event_loop import run_loop

    tls = None
    if tls_certificate and tls_key and tls_ca and tls_server_name:
        tls = ClientTls(tls_certificate, tls_key, tls_ca, tls_server_name)
    elif tls_certificate or tls_key or tls_ca or tls_server_name:
        mend = "give all of --tls-certificate, --tls-key, --tls-ca and --tls-server-name"
        raise Failure(f"the TLS options belong together: {mend}", Exit.USAGE)
    settings = AgentSettings(xds, snapshot_dir, host, port, metrics_port, tls, admin)
    try:
        run_loop(serve(settings, messages.print))
    except OSError as error:
        raise Failure(error.strerror or str(error)) from error
