"""Where a cell listens, and which name its certificate must carry.

What is accepted here must be accepted by Envoy, and must mean the same to Envoy's resolver and to
Python's. So hosts are read by the rules of DNS, letter by letter, and what resolvers read
differently is refused. For example, ``127.1`` is an IP address to some resolvers and a name to
others.
"""

from __future__ import annotations

import ipaddress
import socket
import string
from dataclasses import dataclass

from control_plane.topology.values.errors import Invalid, Problem

MAX_NAME = 253
MAX_LABEL = 63
_LABEL_ENDS = frozenset(string.ascii_letters + string.digits)
_LABEL_STARTS = _LABEL_ENDS | {"_"}
_LABEL_INSIDE = _LABEL_STARTS | {"-"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a cell listens: an IP address or a DNS name, and a port from 1 to 65535."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, where: str = "endpoints") -> Endpoint:
        """Read ``host:port`` or ``[v6]:port``.

        Raises:
            Invalid: It is malformed.
        """
        host, port = _split(text)
        if port is None or not _is_port(port):
            raise Invalid(Problem(where, f"{text!r} is no host:port", "write 10.0.0.1:443"))
        problem = host_problem(host)
        if problem is not None:
            raise Invalid(Problem(where, f"{host!r} {problem[0]}", problem[1]))
        return cls(host, int(port))

    @property
    def is_ip(self) -> bool:
        """Whether the host is an IP address, which needs no DNS."""
        return _is_ip(self.host)

    def problem(self) -> tuple[str, str] | None:
        """Return what is wrong with the endpoint and a hint; None if nothing is."""
        if not _is_port(str(self.port)):
            return "has no port from 1 to 65535", "write 10.0.0.1:443"
        return host_problem(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ServerName:
    """The name that a cell's certificate must carry: a DNS name, or an IP address.

    DNS names are in lower case and without a trailing dot, IP addresses as ``inet_ntop`` writes
    them. Only a DNS name may be sent as SNI (RFC 6066, section 3).
    """

    text: str
    is_ip: bool

    @classmethod
    def of(cls, host: str) -> ServerName:
        """Return the server name of a host or an address (``host[:port]``, ``[v6][:port]``)."""
        name = host if _is_ip(host) else _split(host)[0]
        try:
            ip = ipaddress.ip_address(name)
        except ValueError:
            return cls(name.removesuffix(".").lower(), is_ip=False)
        family = socket.AF_INET6 if ip.version == 6 else socket.AF_INET
        return cls(socket.inet_ntop(family, ip.packed), is_ip=True)


def address_problem(address: str) -> tuple[str, str] | None:
    """Return what is wrong with a cell's address and a hint; None if nothing is."""
    host, port = _split(address)
    if port is not None and not _is_port(port):
        return "has no port from 1 to 65535", "host[:port]"
    if ":" in host and not address.startswith("["):
        return "is no host", "write an IPv6 address in brackets"
    return host_problem(host)


def host_problem(host: str) -> tuple[str, str] | None:
    """Return what is wrong with a host (no port, no brackets) and a hint; None if nothing is."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return _name_problem(host)
    if not isinstance(ip, ipaddress.IPv6Address):
        return None
    if ip.scope_id is not None:
        return "has a zone, which means something on one machine only", "use an address without %"
    if ip.ipv4_mapped is not None:
        return "is an IPv4 address in IPv6's form", f"write {ip.ipv4_mapped}"
    return None


def _name_problem(name: str) -> tuple[str, str] | None:
    labels = name.removesuffix(".").split(".")
    if len(name.removesuffix(".")) > MAX_NAME:
        return "is too long", f"at most {MAX_NAME} characters"
    for label in labels:
        if len(label) > MAX_LABEL:
            return f"has a label of {len(label)} characters", f"at most {MAX_LABEL}"
        if not _is_label(label):
            return "is no host", "use an IP address or a DNS name"
    if _is_number(labels[-1]):
        # Some resolvers read 127.1 and 0x7f000001 as IP addresses, others as names.
        return "ends in a number, so it is no DNS name", "write an IP address in full"
    return None


def _is_label(label: str) -> bool:
    return (
        bool(label)
        and label[0] in _LABEL_STARTS
        and label[-1] in (_LABEL_ENDS if len(label) > 1 else _LABEL_STARTS)
        and all(character in _LABEL_INSIDE for character in label)
    )


def _is_number(label: str) -> bool:
    """Tell whether ``inet_aton`` reads a label as a decimal, octal or hexadecimal number."""
    lower = label.lower()
    return label.isdigit() or (
        lower.startswith("0x") and all(character in string.hexdigits for character in lower[2:])
    )


def _split(text: str) -> tuple[str, str | None]:
    """Split ``host:port`` and ``[v6]:port``; the port is None where there is none.

    A host with colons must stand in brackets. A text that breaks this rule is returned whole, and
    is then no valid host.
    """
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in host or (rest and not rest.startswith(":")):
            return text, None
        return host, rest[1:] if rest else None
    host, colon, port = text.partition(":")
    if ":" in port:
        return text, None
    return host, port if colon else None


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
