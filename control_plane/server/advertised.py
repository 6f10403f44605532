"""The addresses that Envoys are told: where they ask the classifier, and where gRPC (xDS) is.

The problem: a server that listens on 0.0.0.0 does not know by which of its addresses other machines
reach it. To an Envoy of another machine, 127.0.0.1 is that machine itself: it would run the newest
revision and still have no classifier. So such a server has to be told its address. Example:

    host       advertise_host   Envoys are told    who can use that
    127.0.0.1  -                127.0.0.1          this machine, as everything listens there only
    10.0.0.1   -                10.0.0.1           all
    0.0.0.0    10.0.0.1         10.0.0.1           all
    0.0.0.0    -                127.0.0.1          this machine; an error if others reach gRPC
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from control_plane.compiler.model import ClassifierAddress
from control_plane.process.listening import host_port, numeric, reachable
from control_plane.settings import BadSetting, Settings
from control_plane.settings.texts import is_loopback


@dataclass(frozen=True, slots=True)
class Advertised:
    """The addresses of a control plane as Envoys are told them."""

    xds: str
    """``host:port`` of gRPC; empty if this process does not serve it."""
    classifiers: tuple[ClassifierAddress, ...]

    @classmethod
    def of(cls, settings: Settings, *, grpc_port: int, classifier_port: int) -> Advertised:
        """Return the addresses.

        Args:
            settings: As read and checked (`check_advertised`).
            grpc_port: Where gRPC listens in this process; 0: nowhere.
            classifier_port: Where the classifier over HTTP listens in this process; 0: nowhere, so
                the edges ask at the port of the settings.
        """
        over_grpc = settings.classifier_protocol == "grpc"
        port = (grpc_port if over_grpc else classifier_port) or settings.classifier_port
        own = (_host(settings, settings.grpc_host if over_grpc else settings.host), port)
        listed = [_address("classifier_addresses", one) for one in settings.classifier_addresses]
        xds = (_host(settings, settings.grpc_host), grpc_port)
        if settings.xds_address is not None:
            xds = _address("xds_address", settings.xds_address)
        return cls(
            xds=host_port(*xds) if grpc_port else "",
            classifiers=tuple(ClassifierAddress(*one) for one in listed or [own]),
        )


def check_advertised(settings: Settings) -> None:
    """Refuse addresses that Envoys can't use.

    Raises:
        BadSetting: An address is malformed, or it is missing and can't be guessed.
        OSError: The name of ``host`` has no address.
    """
    for one in settings.classifier_addresses:
        _address("classifier_addresses", one)
    if settings.xds_address is not None:
        _address("xds_address", settings.xds_address)
    if settings.advertise_host is not None:
        _checked_host("advertise_host", settings.advertise_host)
    if settings.advertise_host is not None or not reached_by_a_fleet(settings):
        return
    missing = [] if settings.classifier_addresses else ["the classifier"]
    missing += [] if settings.xds_address is not None else ["xDS"]
    if missing and numeric(settings.host) != reachable(settings.host):
        raise BadSetting(
            f"Envoys of other machines can connect, but not reach {' and '.join(missing)} at "
            f"{settings.host}: set --advertise-host (CELLWAY_ADVERTISE_HOST) to the address by "
            "which they reach this machine, or to 127.0.0.1 if all of them run on it"
        )


def reached_by_a_fleet(settings: Settings) -> bool:
    """Return whether Envoys of other machines can get their configuration here."""
    return "xds" in settings.roles and not is_loopback(settings.grpc_host)


def announcements(settings: Settings, advertised: Advertised) -> Iterator[str]:
    """Yield what an operator of a fleet has to know at the start; nothing without a fleet."""
    if not reached_by_a_fleet(settings):
        return
    classifiers = ", ".join(map(str, advertised.classifiers))
    yield f"Envoys get xDS at {advertised.xds}, and ask the classifier at {classifiers}"
    if is_loopback(settings.edge_host):
        yield (
            f"Envoys listen on {settings.edge_host} only: give --edge-host 0.0.0.0 "
            "(CELLWAY_EDGE_HOST) to serve clients of other machines"
        )


def _host(settings: Settings, listens_on: str) -> str:
    """Return the host by which Envoys reach what listens on a host."""
    if settings.advertise_host is None or is_loopback(listens_on):
        return reachable(listens_on)
    return _checked_host("advertise_host", settings.advertise_host)


def _address(setting: str, text: str) -> tuple[str, int]:
    """Read ``host:port``, or raise `BadSetting`."""
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) <= 65535:
        raise BadSetting(f"{setting}: {text!r} is not host:port; write 10.0.0.1:18001")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" in host and bare == host:
        raise BadSetting(f"{setting}: {text!r}: write an IPv6 address in brackets, [fd00::1]:18001")
    return _checked_host(setting, bare), int(port)


def _checked_host(setting: str, host: str) -> str:
    """Return an IP address as text, or a DNS name, to which an Envoy can connect."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # What is no address is a name, unless it has a port, a scheme or a space.
        if not host or any(one in ":/[]" or not "!" <= one <= "~" for one in host):
            text = f"{setting}: {host!r} is neither an IP address nor a DNS name"
            raise BadSetting(text) from None
        return host
    if address.is_unspecified or address.is_multicast:
        raise BadSetting(f"{setting}: nobody can connect to {host}; give an address of the machine")
    return str(address)
