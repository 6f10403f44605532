"""Where an agent listens for its Envoy: on a Unix socket of its user, or on a loopback port."""

from __future__ import annotations

import os
from pathlib import Path

import grpc

from control_plane.process.listening import check_free, host_port
from control_plane.process.unix_socket import check_path, check_unused, socket_in

SOCKET = "agent.sock"
_OWNER_ALONE = 0o177
"""The umask under which a socket is made."""


def socket_path(directory: Path, listen: str | None) -> str:
    """Return the path of the agent's socket.

    Args:
        directory: The agent's own, which has the socket unless ``listen`` says another.
        listen: The path that the operator has chosen; None: none.

    Raises:
        OSError: The kernel does not take the path, or its directory can't be made.
    """
    path = str(socket_in(directory, SOCKET) if listen is None else Path(listen).absolute())
    check_path(path, "--listen")
    return path


def bind_socket(server: grpc.aio.Server, path: str) -> str:
    """Listen on a Unix socket that only its owner may use; return the address for clients.

    Raises:
        OSError: It can't be made, or another program serves it.
    """
    check_unused(Path(path), "with --listen")
    umask = os.umask(_OWNER_ALONE)
    try:
        server.add_insecure_port(f"unix:{path}")
    except RuntimeError as error:
        raise OSError(f"can't listen on {path}: {error}") from error
    finally:
        os.umask(umask)
    return f"unix:{path}"


def bind_port(server: grpc.aio.Server, host: str, port: int) -> str:
    """Listen on a port; return the address for clients.

    Raises:
        OSError: The port is taken, or there is no such address.
    """
    # gRPC itself would only say that it failed, not why.
    check_free(host, port, "--listen")
    address = host_port(host, port)
    try:
        return host_port(host, server.add_insecure_port(address))
    except RuntimeError as error:
        raise OSError(f"can't listen on {address}: {error}") from error
