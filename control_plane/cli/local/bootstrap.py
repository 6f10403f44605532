"""Compiles the bootstrap of a fleet member."""

from __future__ import annotations

from pathlib import Path

from control_plane.cli.client import Exit, Failure
from control_plane.compiler.bootstrap import FleetMember, compile_bootstrap
from control_plane.compiler.member_tls import MemberTls, secret_documents
from control_plane.compiler.socket_address import SocketAddress
from control_plane.process.unix_socket import check_path


def bootstrap(
    *,
    node_id: str,
    group: str,
    xds: SocketAddress,
    admin: SocketAddress,
    stats_port: int | None,
    module: str,
    delta: bool,
    tls_files: tuple[Path, Path, Path] | None,
    tls_server_name: str,
    tls_secrets: Path | None = None,
) -> str:
    """Return a bootstrap as JSON.

    Args:
        xds: the control plane, or an agent.
        admin: where Envoy's admin interface listens.
        module: the module's file on Envoy's machine; empty: it has none.
        stats_port: a loopback port for Envoy's stats alone; None: there is none.
        tls_files: certificate, key and authorities, as paths on the Envoy's machine; None: Envoy
            speaks to its control plane in plain text.
        tls_secrets: instead of these, the directory in which `write_secrets` has written.

    Raises:
        Failure: the kernel would not take the path of a socket.
    """
    tls = None
    if tls_secrets is not None:
        tls = MemberTls.watched(str(tls_secrets), tls_server_name)
    elif tls_files is not None:
        certificate, key, ca = map(str, tls_files)
        tls = MemberTls(certificate, key, ca, tls_server_name)
    for option, address in (("--xds", xds), ("--admin-socket", admin)):
        if isinstance(address, str):
            _check(option, address)
    return compile_bootstrap(
        FleetMember(node_id, group, xds, admin, delta, tls, module, stats_port)
    )


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


def _check(option: str, path: str) -> None:
    try:
        check_path(path, option)
    except OSError as error:
        raise Failure(error.strerror or str(error), Exit.USAGE) from error
