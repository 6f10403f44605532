"""Addresses in a bootstrap: a host and a port, or the path of a Unix socket."""

from __future__ import annotations

from envoy_data_plane.envoy.config.core import v3 as core

SocketAddress = str | tuple[str, int]
"""The path of a Unix socket, or host and port."""
SOCKET_MODE = 0o600
"""Who may connect to a socket that Envoy makes: its own user."""


def envoy_address(address: SocketAddress) -> core.Address:
    """Return an address as Envoy reads it; a socket that Envoy makes is its user's alone."""
    if isinstance(address, str):
        return core.Address(pipe=core.Pipe(path=address, mode=SOCKET_MODE))
    host, port = address
    return core.Address(socket_address=core.SocketAddress(address=host, port_value=port))
