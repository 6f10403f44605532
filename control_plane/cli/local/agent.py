"""Runs the agent beside an Envoy."""

from __future__ import annotations

from pathlib import Path

from control_plane.cli.local.process import run as run_here
from control_plane.cli.local.process import start_logging
from control_plane.cli.output import messages
from control_plane.edge_agent.agent import AgentSettings, serve
from control_plane.edge_agent.channels import ClientTls
from control_plane.edge_agent.saved_variants import SavedVariants
from control_plane.process.admin_address import AdminAddress
from control_plane.publisher.variants import plain_snapshot, variant_of


def run(
    *,
    xds: str,
    directory: Path,
    node_id: str | None,
    listen: str | tuple[str, int] | None,
    metrics_port: int | None,
    envoy_admin: str | tuple[str, int] | None,
    tls: tuple[Path, Path, Path, str] | None,
) -> None:
    """Run an agent until a signal comes.

    Args:
        node_id: the Envoy that is served; None: the first that its directory has had.
        listen: the path of a Unix socket, or host and port; None: a socket in the directory.
        envoy_admin: the same for Envoy's admin interface; None: nothing is reported.
        tls: certificate, key and authorities (PEM), and the server's name; None: plain text.

    Raises:
        Failure: the directory is another agent's, a port is taken, a file can't be read.
    """
    start_logging()
    if isinstance(envoy_admin, tuple):
        host, port = envoy_admin
        admin: AdminAddress | None = AdminAddress(host=host, port=port)
    else:
        admin = None if envoy_admin is None else AdminAddress(socket=envoy_admin)
    secured = ClientTls(*tls) if tls is not None else None
    variants = SavedVariants(variant_of, plain_snapshot)
    settings = AgentSettings(
        xds, directory, node_id, listen, metrics_port, secured, admin, variants
    )
    run_here(serve(settings, messages.print))
