"""Compiles the bootstrap of a fleet member."""

from __future__ import annotations

from pathlib import Path

from control_plane.compiler.bootstrap import FleetMember, MemberTls, compile_bootstrap


def bootstrap(
    *,
    node_id: str,
    group: str,
    xds: tuple[str, int],
    admin_port: int,
    delta: bool,
    tls_files: tuple[Path, Path, Path] | None,
    tls_server_name: str,
) -> str:
    """Return a bootstrap as JSON.

    Args:
        xds: host and port of the control plane, or of an agent.
        tls_files: certificate, key and authorities, as paths on the Envoy's machine; None: Envoy
            speaks to its control plane in plain text.
    """
    tls = None
    if tls_files is not None:
        certificate, key, ca = map(str, tls_files)
        tls = MemberTls(certificate, key, ca, tls_server_name)
    host, port = xds
    return compile_bootstrap(FleetMember(node_id, group, host, port, admin_port, delta, tls))
