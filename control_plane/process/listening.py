"""Addresses, ports and listening sockets, with errors that tell an operator what to change."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable

LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not listened on
"""The address by which this machine reaches a listener on all addresses of a family."""
BACKLOG = 1024


def numeric(host: str) -> str:
    """Return the IP address of a host that may be a name; IPv4 if the name has both.

    Raises:
        OSError: the name has no address.
    """
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        text = f"{host!r} is no address of this machine: {error}"
        raise OSError(errno.EADDRNOTAVAIL, text) from error
    addresses = sorted((family != socket.AF_INET, str(to[0])) for family, _, _, _, to in infos)
    return addresses[0][1]


def reachable(host: str) -> str:
    """Return the IP address by which programs on this machine reach a listener on a host."""
    address = numeric(host)
    return LOOPBACK_OF.get(address, address)


def is_of_this_machine(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Return whether an address is one of this machine's: only then can a socket be bound to it."""
    if address.is_loopback:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((str(address), 0))
    except OSError:
        return False
    return True


def bind(host: str, port: int, setting: str = "another port") -> socket.socket:
    """Return a listening socket, which does not block. On ``::`` it takes IPv4 too.

    Args:
        host: An IP address or a name.
        port: Its port; 0: any free one.
        setting: What to change if the port is taken, for the message.

    Raises:
        OSError: its text names host, port and what to change.
    """
    sock = _bound(host, port, setting, lambda sock: sock.listen(BACKLOG))
    sock.setblocking(False)
    return sock


def check_free(host: str, port: int, setting: str) -> None:
    """Raise what `bind` would raise, for a port that a library is about to listen on."""
    _bound(host, port, setting, lambda _: None).close()


def free_port(wanted: int = 0) -> int:
    """Return a loopback port that is free now: the wanted one if it is, else any other.

    Another program may take it before it is used.
    """
    try:
        sock = bind("127.0.0.1", wanted)
    except OSError:
        sock = bind("127.0.0.1", 0)
    with sock:
        return port_of(sock)


def reserve(
    host: str, port: int, setting: str = "another port", *, beside: bool = False
) -> socket.socket:
    """Reserve a port for a process of ours that listens with SO_REUSEPORT, as Envoy does.

    SO_REUSEPORT lets a second Envoy of the same user listen on the port of the first and take a
    share of its connections, without an error. As long as the returned socket is open, only
    programs that ask for SO_REUSEPORT can bind the port, and nobody else can reserve it. The socket
    itself gets no connections, because it does not listen.

    Args:
        host: An IP address or a name.
        port: Its port; 0: any free one.
        setting: What to change if the port is taken, for the message.
        beside: Whether processes of ours listen on the port already.

    Raises:
        OSError: its text names host, port and what to change.
    """

    def share(sock: socket.socket) -> None:
        # After the binding, because two sockets with SO_REUSEPORT could reserve the same port.
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
    """Return a socket that is bound, with SO_REUSEPORT if it is ``shared``, and given to ``then``.

    Raises:
        OSError: in the operator's words.
    """
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
        raise OSError(error.errno, _why(error, host, port, setting)) from error
    return sock


def _why(error: OSError, host: str, port: int, setting: str) -> str:
    if error.errno != errno.EADDRINUSE:
        return f"can't listen on {host_port(host, port)}: {error.strerror}"
    return (
        f"port {port} of {host} is taken by another program: end that, or choose another "
        f"with {setting}"
    )


def has_ipv6() -> bool:
    """Return whether this machine's kernel supports IPv6; it need not have an address."""
    try:
        socket.socket(socket.AF_INET6).close()
    except OSError:
        return False
    return True


def port_of(sock: socket.socket) -> int:
    """Return the port that a socket is bound to."""
    return int(sock.getsockname()[1])


def host_port(host: str, port: int) -> str:
    """Return ``host:port`` as URLs have it, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
