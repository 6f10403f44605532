"""Runs the agent beside an Envoy."""

from __future__ import annotations

from pathlib import Path

from control_plane.cli.local.process import run as run_here
from control_plane.cli.local.process import start_logging
from control_plane.cli.output import messages
from control_plane.edge_agent.agent import AgentSettings, serve
from control_plane.edge_agent.channels import ClientTls


def run(
    *,
    xds: str,
    directory: Path,
    listen: tuple[str, int],
    metrics_port: int | None,
    envoy_admin: tuple[str, int] | None,
    tls: tuple[Path, Path, Path, str] | None,
) -> None:
    """Run an agent until a signal comes.

    Args:
        tls: certificate, key and authorities (PEM), and the server's name; None: plain text.

    Raises:
        Failure: the directory is another agent's, a port is taken, a file can't be read.
    """
    start_logging()
    host, port = listen
    secured = ClientTls(*tls) if tls is not None else None
    settings = AgentSettings(xds, directory, host, port, metrics_port, secured, envoy_admin)
    run_here(serve(settings, messages.print))
