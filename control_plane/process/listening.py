"""Sockets and uvicorn servers that live inside one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn


class EmbeddedServer(uvicorn.Server):
    """A uvicorn server that leaves signals to the program it is part of."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install nothing."""
        yield


LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not listened on
"""How programs on this machine reach what listens on every address of a family."""


def numeric(host: str) -> str:
    """Return the IP address of a host that may be a name; IPv4 where the name has both.

    Raises:
        OSError: the name has none.
    """
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        text = f"{host!r} is no address of this machine: {error}"
        raise OSError(errno.EADDRNOTAVAIL, text) from error
    addresses = sorted((family != socket.AF_INET, str(to[0])) for family, _, _, _, to in found)
    return addresses[0][1]


def reachable(host: str) -> str:
    """Return the IP address by which programs on this machine reach what listens on a host."""
    address = numeric(host)
    return LOOPBACK_OF.get(address, address)


def bind(host: str, port: int, setting: str = "another port") -> socket.socket:
    """Return a listening socket; port 0 takes any free one. On ``::`` it takes IPv4 too.

    Args:
        host: An IP address or a name.
        port: Its port.
        setting: What to change if the port is taken, for the message.

    Raises:
        OSError: its text names host, port and what to change.
    """
    sock = _bound(host, port, setting, lambda sock: sock.listen(1024))
    sock.setblocking(False)
    return sock


def check_free(host: str, port: int, setting: str) -> None:
    """Raise what `bind` would raise, for a port that a library is about to listen on."""
    _bound(host, port, setting, lambda _: None).close()


def reserve(
    host: str, port: int, setting: str = "another port", *, beside: bool = False
) -> socket.socket:
    """Take a port, or with 0 any free one, for a process of ours that listens with SO_REUSEPORT.

    Envoy's workers listen so, which lets a second Envoy of the same user take a share of the
    connections without a word. As long as the socket is open, only who asks for SO_REUSEPORT can
    bind the port, and nobody can reserve it. It gets no connections, because it does not listen.
    With ``beside``, processes of ours listen on it already.

    Raises:
        OSError: as `bind`.
    """

    def share(sock: socket.socket) -> None:
        # Only after the binding: else two reservations could have the same port.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

    return _bound(host, port, setting, share, shared=beside)


def _bound(
    host: str,
    port: int,
    setting: str,
    then: Callable[[socket.socket], None],
    *,
    shared: bool = False,
) -> socket.socket:
    address = numeric(host)
    try:
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    except OSError as error:
        raise OSError(error.errno, f"can't listen on {host}: {error.strerror}") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
        if sock.family is socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address != "::")
        sock.bind((address, port))
        then(sock)
    except OSError as error:
        sock.close()
        why = f"can't listen on {host_port(host, port)}: {error.strerror}"
        if error.errno == errno.EADDRINUSE:
            why = (
                f"port {port} of {host} is taken by another program: end that, or choose another "
                f"with {setting}"
            )
        raise OSError(error.errno, why) from error
    return sock


def has_ipv6() -> bool:
    """Whether this machine's kernel knows IPv6; it need not have an address."""
    try:
        socket.socket(socket.AF_INET6).close()
    except OSError:
        return False
    return True


def port_of(sock: socket.socket) -> int:
    """The port that a socket is bound to."""
    return int(sock.getsockname()[1])


def host_port(host: str, port: int) -> str:
    """As URLs have it: an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def embedded(app: Any, *, log_level: str = "warning") -> EmbeddedServer:
    """A server for an ASGI app, to be run with `run`."""
    config = uvicorn.Config(
        app,
        log_level=log_level,
        access_log=False,
        lifespan="off",
        timeout_keep_alive=75,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=2,
    )
    return EmbeddedServer(config)


async def run(server: EmbeddedServer, sock: socket.socket) -> None:
    """Serve until cancelled, then finish what has begun."""
    task = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        server.should_exit = True
        await task
        raise
