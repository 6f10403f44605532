"""What the compiler takes and what it makes: cells and a traffic policy, and resources."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from control_plane.routing.model import Cell


class Endpoint(Protocol):
    """Where a cell listens."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def is_ip(self) -> bool: ...


class TLS(Protocol):
    """TLS from Envoy to a cell."""

    @property
    def trust_file(self) -> str: ...


class ServerName(Protocol):
    """What a cell's certificate must carry."""

    @property
    def text(self) -> str: ...
    @property
    def is_ip(self) -> bool: ...


class UpstreamCell(Cell, Protocol):
    """A cell with what is needed to reach it; `topology.values.cell.Cell` has these attributes."""

    @property
    def endpoints(self) -> Sequence[Endpoint]: ...
    @property
    def tls(self) -> TLS | None: ...
    @property
    def server_name(self) -> ServerName: ...
    @property
    def health_check_path(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class ClassifierAddress:
    """Where a classifier listens: host and port, or a Unix socket's path."""

    host: str = ""
    """An IP address or a DNS name."""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        return self.path or (f"[{self.host}]" if ":" in self.host else self.host) + f":{self.port}"

    @property
    def is_name(self) -> bool:
        """Whether Envoy has to resolve the host."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return not self.path
        return False


@dataclass(frozen=True, slots=True)
class ClassifierTLS:
    """TLS from Envoy to the classifiers."""

    authorities: str
    """Whose certificates are trusted (PEM)."""
    name: str
    """What a certificate must carry: a DNS name or an IP address."""
    is_ip: bool


@dataclass(frozen=True, slots=True)
class TrafficPolicy:
    """How the edge treats traffic. Times are in seconds; 0 means no limit where noted."""

    edge_host: str = "127.0.0.1"
    edge_port: int = 10000
    classifiers: tuple[ClassifierAddress, ...] = ()
    classifier_protocol: str = "http"
    """``http`` or ``grpc``."""
    classifier_timeout_s: float = 0.25
    classifier_tls: ClassifierTLS | None = None
    """None: classifiers are asked in plaintext."""
    sends_secret: bool = False
    """Whether edges show the classifier a secret, which they must then be sent (SDS)."""
    connect_timeout_s: float = 1.0
    cell_idle_timeout_s: float = 1.0
    """How long a connection to a cell is kept without a request."""
    request_timeout_s: float = 0.0
    """Whole request; 0: none, because cells have long polls and large uploads."""
    stream_idle_timeout_s: float = 300.0
    debug_networks: tuple[str, ...] = ()
    """CIDRs of callers whose responses carry the x-cellway- debug headers."""
    max_request_headers_kb: int = 60
    health_check_interval_s: float = 5.0
    dns_resolvers: tuple[tuple[str, int], ...] = ()
    """IP addresses and ports of the DNS servers that are asked for the names of cells.

    None: those of each Envoy's machine.
    """
    ipv6: bool = True
    """Whether every Envoy's machine knows IPv6: on one that does not, an AAAA record ends Envoy."""
    edge_cache_entries: int = 50_000
    """Answers that each Envoy worker keeps at most; 0: none, the classifier is asked each time."""
    edge_cache_stale_s: float = 3600.0
    """How long after its end an answer may serve while the classifier is out of reach."""
    map_unknown_asked: int = 100
    """Requests a second with names of nobody that an Envoy with an edge map asks about."""


@dataclass(frozen=True, slots=True)
class EnvoyResource:
    """One compiled resource: its type, name and serialised message."""

    type_url: str
    name: str
    body: bytes
