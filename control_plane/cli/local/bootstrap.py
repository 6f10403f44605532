"""Compiles the bootstrap of a fleet member."""

from __future__ import annotations

from pathlib import Path

from control_plane.cli.client import Failure
from control_plane.compiler.bootstrap import FleetMember, compile_bootstrap
from control_plane.compiler.member_tls import MemberTls, secret_documents


def bootstrap(
    *,
    node_id: str,
    group: str,
    xds: tuple[str, int],
    admin_port: int,
    delta: bool,
    tls_files: tuple[Path, Path, Path] | None,
    tls_server_name: str,
    tls_secrets: Path | None = None,
) -> str:
    """Return a bootstrap as JSON.

    Args:
        xds: host and port of the control plane, or of an agent.
        tls_files: certificate, key and authorities, as paths on the Envoy's machine; None: Envoy
            speaks to its control plane in plain text.
        tls_secrets: instead of these, the directory in which `write_secrets` has written.
    """
    tls = None
    if tls_secrets is not None:
        tls = MemberTls.watched(str(tls_secrets), tls_server_name)
    elif tls_files is not None:
        certificate, key, ca = map(str, tls_files)
        tls = MemberTls(certificate, key, ca, tls_server_name)
    host, port = xds
    return compile_bootstrap(FleetMember(node_id, group, host, port, admin_port, delta, tls))


def write_secrets(directory: Path, certificate: Path, key: Path, ca: Path) -> list[Path]:
    """Write the documents by which an Envoy watches its certificates; return their paths.

    Raises:
        Failure: they can't be written.
    """
    pem, secret, authorities = (str(path.absolute()) for path in (certificate, key, ca))
    documents = secret_documents(MemberTls(pem, secret, authorities, server_name=""))
    written = []
    for name, text in documents.items():
        path = directory / name
        try:
            path.write_text(text + "\n")
        except OSError as error:
            raise Failure(f"{path} can't be written: {error.strerror}") from error
        written.append(path)
    return written
