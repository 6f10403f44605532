"""Which addresses a cell may have: what an edge reaches for everybody must be a cell's.

An edge sends requests of strangers to whatever address a cell declares. Were that the metadata
service of the cloud (169.254.169.254) or our own API on loopback, strangers could read it through
the edge. So some networks are denied, and so are the ports that this process and its Envoy listen
on, wherever the address means this machine::

    169.254.169.254:80        denied: a link-local address
    127.0.0.1:8000            denied: our own API listens there
    127.0.0.1:9000            allowed: a cell on a laptop
    metadata.example:80       allowed when it is declared, and refused when a probe resolves it to
                              a denied address

Addresses of IPv6 that carry one of IPv4 (mapped, NAT64, 6to4) are judged by both.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from control_plane.topology.values.endpoint import Endpoint

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
DENIED_BY_DEFAULT: tuple[str, ...] = (
    "0.0.0.0/8",  # this machine, as most kernels read it
    "169.254.0.0/16",  # link-local, with most clouds' metadata
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, with broadcast
    "100.100.100.200/32",  # metadata of Alibaba Cloud
    "168.63.129.16/32",  # the platform's service in Azure
    "192.0.0.192/32",  # metadata of Oracle Cloud
    "::/128",
    "fe80::/10",
    "ff00::/8",
    "fd00:ec2::254/128",  # metadata of AWS
    "fd20:ce::254/128",  # metadata of Google Cloud
)
ALLOWED_BY_DEFAULT: tuple[str, ...] = ("0.0.0.0/0", "::/0")
SETTINGS_HINT = "see endpoint_networks_denied and endpoint_networks_allowed"
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_OWN_NAMES = ("localhost", "ip6-localhost", "localhost.localdomain")


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return networks in CIDR form; raise `ValueError` for what is none."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def is_loopback(address: Address) -> bool:
    """Return whether an address means this machine on every machine."""
    return address.is_loopback


@dataclass(frozen=True, slots=True)
class EndpointPolicy:
    """Which endpoints may be declared, published and probed."""

    allowed: tuple[Network, ...] = networks(ALLOWED_BY_DEFAULT)
    """Only addresses in one of these are allowed."""
    denied: tuple[Network, ...] = networks(DENIED_BY_DEFAULT)
    """Addresses in one of these are not, even if they are in ``allowed`` too."""
    own_ports: Collection[int] = field(default_factory=frozenset)
    """The ports of ours on this machine. A mutable set may grow while ports are bound."""
    is_own: Callable[[Address], bool] = is_loopback
    """Tells whether an address is one of this machine's."""

    def denial(self, endpoint: Endpoint) -> str | None:
        """Return why an endpoint may not be declared; None if it may.

        What a DNS name means shows only when it is resolved (`denial_of`).
        """
        try:
            address = ipaddress.ip_address(endpoint.host)
        except ValueError:
            return self._denial_of_name(endpoint)
        return self.denial_of(address, endpoint.port)

    def _denial_of_name(self, endpoint: Endpoint) -> str | None:
        name = endpoint.host.lower().removesuffix(".")
        ours = name in _OWN_NAMES or name.endswith(".localhost")
        return _OWN_PORT if ours and endpoint.port in self.own_ports else None

    def denial_of(self, address: Address, port: int) -> str | None:
        """Return why nobody may connect to an address on behalf of a cell; None if one may."""
        for one in (address, *_inside(address)):
            for network in self.denied:
                if one in network:
                    return f"is in {network}, which no cell may use ({SETTINGS_HINT})"
            if port in self.own_ports and self.is_own(one):
                return _OWN_PORT
        if not any(address in network for network in self.allowed):
            return f"is in no network that cells may use ({SETTINGS_HINT})"
        return None


_OWN_PORT = "is a port of cellway itself on this machine"


def _inside(address: Address) -> list[Address]:
    """Return the IPv4 addresses that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    carried: list[Address] = [one for one in (address.ipv4_mapped, address.sixtofour) if one]
    if address in _NAT64:
        carried.append(ipaddress.IPv4Address(address.packed[-4:]))
    return carried
