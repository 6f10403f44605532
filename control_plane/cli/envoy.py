"""``cellway envoy``: a fleet member's bootstrap, and the agent that runs beside it."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from control_plane.cli.client import Exit, Failure
from control_plane.cli.context import Context, of
from control_plane.cli.options import host_port, port_option, socket_or_port, with_options
from control_plane.cli.output import Format, messages, show
from control_plane.names import NODE_NAME

app = typer.Typer(no_args_is_help=True, help="Envoys that join the fleet.")
XDS = "127.0.0.1:18000"
AGENT = "127.0.0.1:18002"
ADMIN_SOCKET_ENDS = ".admin.sock"
"""The end of the default name of an admin socket; the node's id is before it."""
FileThere = Annotated[
    Path | None, typer.Option(help="PEM file on the Envoy's machine; all of --tls-… or none")
]
FileHere = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="PEM file; all of --tls-… or none"),
]


@dataclass(frozen=True, kw_only=True)
class BootstrapOptions:
    """Options of ``cellway envoy bootstrap``."""

    node_id: Annotated[str, typer.Option(help="name of the Envoy, unique in the fleet")]
    group: Annotated[str, typer.Option(help="the node's cluster, in Envoy's words")] = "edge"
    xds: Annotated[
        str | None,
        typer.Option(
            help="host:port of the control plane, or host:port or unix:PATH of an agent; "
            "default: what --server says"
        ),
    ] = None
    admin_socket: Annotated[
        Path | None,
        typer.Option(
            help="Unix socket of Envoy's admin interface, for its own user; "
            "default: NODE_ID.admin.sock in Envoy's working directory"
        ),
    ] = None
    admin_port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="a loopback port instead, which all users of the machine reach"
        ),
    ] = None
    stats_port: Annotated[
        int | None,
        port_option("Envoy's /stats/prometheus and /ready alone, on loopback; default: none"),
    ] = None
    module: Annotated[
        str | None,
        typer.Option(
            help="file of cellway's module on Envoy's machine, or auto: the one of this machine, "
            "which is built; Envoy then answers by the edge map. Default: it has none"
        ),
    ] = None
    sotw: Annotated[bool, typer.Option(help="state of the world instead of delta xDS")] = False
    tls_certificate: FileThere = None
    tls_key: FileThere = None
    tls_ca: FileThere = None
    tls_server_name: Annotated[
        str | None,
        typer.Option(
            help="DNS name or SPIFFE id in the control plane's certificate; default: host of --xds"
        ),
    ] = None
    tls_secrets: Annotated[
        Path | None,
        typer.Option(
            help="instead of the three files: directory in which `cellway envoy secrets` has "
            "written; Envoy then reads renewed certificates without a restart"
        ),
    ] = None

    @property
    def admin(self) -> str | tuple[str, int]:
        """Where the admin interface listens: the path of a socket, or host and port.

        Raises:
            Failure: options contradict each other.
        """
        if self.admin_port is None:
            plain = re.sub(r"[^A-Za-z0-9._-]", "_", self.node_id)[:64]
            return str(self.admin_socket or f"{plain}{ADMIN_SOCKET_ENDS}")
        other = "--admin-socket" if self.admin_socket is not None else "--stats-port"
        if self.admin_socket is not None or self.stats_port is not None:
            hint = "that port has all of the admin interface"
            raise Failure(f"--admin-port excludes {other}: {hint}", Exit.USAGE)
        return "127.0.0.1", self.admin_port

    @property
    def tls_files(self) -> tuple[Path, Path, Path] | None:
        """Certificate, key and authorities, if TLS is used.

        Raises:
            Failure: some are given and some are not.
        """
        certificate, key, ca = self.tls_certificate, self.tls_key, self.tls_ca
        if self.tls_secrets and (certificate or key or ca):
            text = "give --tls-secrets, or the three files of --tls-…: not both"
            raise Failure(text, Exit.USAGE)
        if certificate and key and ca:
            return certificate, key, ca
        if certificate or key or ca:
            raise Failure("--tls-certificate, --tls-key and --tls-ca belong together", Exit.USAGE)
        return None


@app.command("bootstrap")
@with_options(BootstrapOptions)
def bootstrap(ctx: typer.Context, options: BootstrapOptions) -> None:
    """Print the bootstrap of a fleet member (JSON), with which its Envoy is started.

    Example: cellway envoy bootstrap --node-id edge-1 --xds cp.example:18000 > bootstrap.json
    """
    if not NODE_NAME.match(options.node_id) or not NODE_NAME.match(options.group):
        names = f"--node-id {options.node_id!r} or --group {options.group!r}"
        raise Failure(f"{names} is no name: 1 to 256 visible ASCII characters", Exit.USAGE)
    admin, files = options.admin, options.tls_files
    xds = socket_or_port("--xds", options.xds or _advertised(of(ctx)))
    if isinstance(xds, str) and files is not None:
        raise Failure("--xds unix:…: an agent's socket has no TLS; leave --tls-… out", Exit.USAGE)
    host = "" if isinstance(xds, str) else xds[0]
    from control_plane.cli.local import bootstrap, edge_module

    file = None if options.module is None else edge_module.given_module(options.module)
    if file is not None:
        messages.print(edge_module.how_to_start(file), markup=False, soft_wrap=True)
    text = bootstrap.bootstrap(
        node_id=options.node_id,
        group=options.group,
        xds=xds,
        admin=admin,
        stats_port=options.stats_port,
        module=str(file or ""),
        delta=not options.sotw,
        tls_files=files,
        tls_server_name=options.tls_server_name or host,
        tls_secrets=options.tls_secrets,
    )
    if of(ctx).output is Format.YAML:
        show(json.loads(text), Format.YAML)
    else:
        print(text)


@app.command("secrets")
def secrets(
    directory: Annotated[Path, typer.Argument(help="an existing directory, on Envoy's machine")],
    tls_certificate: Annotated[Path, typer.Option(help="PEM file of Envoy's certificate")],
    tls_key: Annotated[Path, typer.Option(help="PEM file of its key")],
    tls_ca: Annotated[Path, typer.Option(help="PEM file of the authorities")],
) -> None:
    """Write what says to Envoy where its certificates are, so that it watches them.

    Run it on Envoy's machine, and give the directory to the bootstrap as --tls-secrets. Envoy reads
    the certificates again when a file is renamed into one of their directories. The documents hold
    the paths only.
    """
    from control_plane.cli.local import bootstrap

    written = bootstrap.write_secrets(directory, tls_certificate, tls_key, tls_ca)
    messages.print(f"written: {', '.join(map(str, written))}", markup=False)


def _advertised(context: Context) -> str:
    """Return where Envoys reach gRPC, as the server says; on this machine, it need not run yet.

    Raises:
        Failure: The server does not say it.
    """
    try:
        told = context.client.get("/v1/fleet").get("addresses", {}).get("xds")
    except Failure as failure:
        host = urlsplit(context.server).hostname or ""
        if host != "localhost" and not _is_loopback(host):
            raise Failure(f"{failure}\n  or give --xds HOST:PORT", failure.status) from failure
        reason = str(failure).splitlines()[0]
        messages.print(f"--xds {XDS} is assumed, for this machine: {reason}", markup=False)
        return XDS
    if told is None:
        text = f"{context.server} does not say where Envoys reach it: give --xds HOST:PORT"
        raise Failure(text, Exit.USAGE)
    return str(told)


@dataclass(frozen=True, kw_only=True)
class AgentOptions:
    """Options of ``cellway envoy agent``."""

    snapshot_dir: Annotated[
        Path, typer.Option(help="directory for snapshots of this one Envoy's configuration")
    ]
    xds: Annotated[str, typer.Option(help="host:port of the control plane")] = XDS
    node_id: Annotated[
        str | None,
        typer.Option(
            help="the Envoy that is served; default: the first that this directory has had"
        ),
    ] = None
    listen: Annotated[
        str | None,
        typer.Option(
            help="unix:PATH or a loopback address:port, which Envoy's bootstrap has as --xds; "
            "default: agent.sock in --snapshot-dir"
        ),
    ] = None
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="port for /metrics, on loopback; default: none"),
    ] = None
    envoy_admin: Annotated[
        str | None,
        typer.Option(
            help="unix:PATH or host:port of Envoy's admin interface, to report which cells it "
            "holds healthy"
        ),
    ] = None
    tls_certificate: FileHere = None
    tls_key: FileHere = None
    tls_ca: FileHere = None
    tls_server_name: Annotated[
        str | None, typer.Option(help="DNS name in the control plane's certificate")
    ] = None

    @property
    def tls(self) -> tuple[Path, Path, Path, str] | None:
        """Certificate, key, authorities and server name, if TLS is used.

        Raises:
            Failure: some are given and some are not.
        """
        certificate, key, ca = self.tls_certificate, self.tls_key, self.tls_ca
        server_name = self.tls_server_name
        if server_name and server_name.startswith("spiffe://"):
            hint = "give a DNS name that the certificate has beside its SPIFFE id"
            raise Failure(f"--tls-server-name: gRPC can't check a SPIFFE id; {hint}", Exit.USAGE)
        if certificate and key and ca and server_name:
            return certificate, key, ca, server_name
        if certificate or key or ca or server_name:
            hint = "give all of --tls-certificate, --tls-key, --tls-ca and --tls-server-name"
            raise Failure(f"the TLS options belong together: {hint}", Exit.USAGE)
        return None


@app.command("agent")
@with_options(AgentOptions)
def agent(options: AgentOptions) -> None:
    """Run beside one Envoy, so that it can restart while the control plane is dead.

    The agent passes the Envoy's configuration on, and keeps on disk what Envoy has accepted.
    Envoy's bootstrap: cellway envoy bootstrap --node-id NAME --xds unix:SNAPSHOT_DIR/agent.sock
    """
    host_port("--xds", options.xds)
    if options.node_id is not None and not NODE_NAME.match(options.node_id):
        text = f"--node-id {options.node_id!r} is no name: 1 to 256 visible ASCII characters"
        raise Failure(text, Exit.USAGE)
    listen = None if options.listen is None else _local("--listen", options.listen)
    admin = options.envoy_admin
    envoy_admin = None if admin is None else socket_or_port("--envoy-admin", admin)
    tls = options.tls
    from control_plane.cli.local import agent

    agent.run(
        xds=options.xds,
        directory=options.snapshot_dir,
        node_id=options.node_id,
        listen=listen,
        metrics_port=options.metrics_port,
        envoy_admin=envoy_admin,
        tls=tls,
    )


def _local(option: str, text: str) -> str | tuple[str, int]:
    """Read ``unix:PATH``, or a ``host:port`` whose host has to be a loopback address."""
    where = socket_or_port(option, text)
    if isinstance(where, str):
        return where
    if _is_loopback(where[0]):
        return where
    raise Failure(f"{option} {text!r}: give a loopback address, {AGENT}", Exit.USAGE)


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
