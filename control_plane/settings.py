"""The one place where configuration is read: flags over environment over cellway.toml."""

from __future__ import annotations

import hashlib
import ipaddress
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from sqlalchemy.engine import make_url

Role = Literal["api", "xds", "classifier", "topology"]
API_PORT = "--api-port (CELLWAY_API_PORT)"
"""How messages name a setting that can be changed."""
GRPC_PORT = "--grpc-port (CELLWAY_GRPC_PORT)"
CLASSIFIER_PORT = "--classifier-port (CELLWAY_CLASSIFIER_PORT)"
ALL_ROLES: tuple[Role, ...] = ("api", "xds", "classifier", "topology")


class Settings(BaseSettings):
    """Everything that can be set. Ports: 0 means any free one, printed at start."""

    model_config = SettingsConfigDict(
        env_prefix="CELLWAY_", toml_file="cellway.toml", extra="forbid", frozen=True
    )

    database_url: str = Field(default="sqlite:///.cellway/cellway.db", repr=False)
    """May hold a password, so it is not in what is printed of settings."""
    redis_url: str | None = Field(default=None, repr=False)
    """redis://, rediss:// or unix://; with PostgreSQL, classifiers share look-ups there."""
    roles: tuple[Role, ...] = ALL_ROLES
    host: str = "127.0.0.1"
    """Where API, gRPC and classifier listen."""
    api_port: int = Field(default=8000, ge=0, le=65535)
    grpc_port: int = Field(default=18000, ge=0, le=65535)
    grpc_threads: int = Field(default=16, ge=1, le=256)
    """Topology Service calls on the database at once. Those that begin, commit and roll back
    updates of claims need none: they are written together."""
    grpc_max_calls: int = Field(default=256, ge=1, le=10_000)
    """Such calls running or waiting at once, as many that begin updates, and as many commits and
    rollbacks beside them; more get RESOURCE_EXHAUSTED."""
    grpc_max_rpcs: int = Field(default=12_000, ge=1, le=1_000_000)
    """Calls and streams of any kind at once; each Envoy holds one or two streams."""
    grpc_tls_certificate: Path | None = None
    """PEM; with its key and the authorities of the clients' certificates: mutual TLS."""
    grpc_tls_key: Path | None = None
    grpc_tls_client_ca: Path | None = None
    grpc_plaintext_beyond_loopback: bool = False
    """Without TLS, gRPC listens on loopback only, whatever ``host`` is, unless this is set."""
    grpc_cell_name: str = r"spiffe://cellway/cell/(?P<cell>[1-9][0-9]*)"
    """RE2 for the subjectAltName of a cell's certificate; captures the cell's id."""
    grpc_router_name: str = r"spiffe://cellway/router(?:/[^/]+)?"
    grpc_admin_name: str = r"spiffe://cellway/admin(?:/[^/]+)?"
    grpc_node_name: str = r"spiffe://cellway/node/(?P<group>[^/]+)/(?P<node>[^/]+)"
    """The same for a node of the fleet; captures its group (node cluster) and id."""
    classify_max_age_s: int = Field(default=10, ge=0, le=86400)
    """How long routers may keep an answer of POST /v1/classify; a move waits that long."""
    classify_negative_max_age_s: int = Field(default=5, ge=0, le=86400)
    """The same for NOT_FOUND."""
    classifier_port: int = Field(default=18001, ge=0, le=65535)
    classifier_workers: int = Field(default=1, ge=0, le=64)
    """Processes that share the classifier port; 0: in the server's own process."""
    classifier_restart_s: float = Field(default=0.5, ge=0, le=30)
    """Until a dead classifier process is started again; doubles up to 30 s; 0: never."""
    classifier_protocol: Literal["http", "grpc"] = "http"
    classifier_timeout_s: float = Field(default=0.25, gt=0, le=60)
    edge_host: str = "127.0.0.1"
    """Where Envoys listen: an IP address (``::``: IPv4 too) or ``localhost``."""
    edge_port: int = Field(default=10000, ge=0, le=65535)
    edge_dns_resolvers: tuple[str, ...] = ()
    """DNS servers (IP address or IP:port) that Envoys ask for the names of cells; none: those of
    each Envoy's machine."""
    edge_ipv6: bool | None = None
    """Whether the machines of all Envoys know IPv6 (an Envoy whose kernel does not is ended by a
    name with an IPv6 address). Default: whether this one does."""
    envoy_admin_port: int = Field(default=9901, ge=0, le=65535)
    cell_idle_timeout_s: float = Field(default=1.0, gt=0, le=3600)
    """How long Envoys keep a connection to a cell without a request: less than any cell does."""
    drain_s: float = Field(default=20, ge=0, le=3600)
    """How long `cellway up` waits at its end for requests under way, in seconds."""
    edge_cache_entries: int = Field(default=50_000, ge=0, le=5_000_000)
    """Answers that each Envoy worker keeps at most; 0: the classifier is asked each time."""
    edge_cache_stale_s: float = Field(default=3600.0, ge=0, le=86_400)
    """How long after its end an answer may serve while the classifier is out of reach, in seconds.

    A day at the most: a freed name's last owner, by whom its next voids answers, is known for two.
    """
    debug_networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    """Callers (CIDR) whose responses show cell, rule, tier and revision."""
    api_token: SecretStr | None = None
    """Needed on any address but loopback."""
    force_shrink: bool = False
    """Publish even if most cells are gone."""
    data_dir: Path = Path(".cellway")
    sequence_mark_file: Path | None = None
    """The highest id ever allotted, outside the database. Default: beside a SQLite file, in
    ``data_dir`` for PostgreSQL. Keep it out of what is restored together with the database."""
    poll_interval_s: float = Field(default=0.5, gt=0, le=60)
    """How often other processes' commits are looked for."""
    changes_kept_days: float = Field(default=90, ge=0, le=36_500)
    """How long the change feed, and with it the audit, is kept; 0: for ever."""
    changes_kept_revisions: int = Field(default=100_000_000, ge=0)
    """How many revisions of it at most; 0: any number."""
    changes_archive: Path | None = None
    """A file that what is forgotten of it is appended to first, one change a line (JSON)."""
    health_interval_s: float = Field(default=2.0, ge=0, le=3600)
    """How often the control plane probes cells that have a health check; 0: never."""

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("redis://", "rediss://", "unix://")):
            # Without the URL itself: it may hold a password.
            raise ValueError("give redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix://FILE")
        return url

    @field_validator("edge_host")
    @classmethod
    def _edge_host(cls, host: str) -> str:
        if host == "localhost":
            return host
        try:
            return str(ipaddress.ip_address(host))
        except ValueError as error:
            # Another machine's Envoy would know another address by a name, or none.
            text = "give an IP address of the Envoys' machine, 0.0.0.0 or :: for all, or localhost"
            raise ValueError(text) from error

    @field_validator("debug_networks")
    @classmethod
    def _networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(ipaddress.ip_network(network)) for network in networks)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags win over the environment, which wins over cellway.toml."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @field_validator("edge_dns_resolvers")
    @classmethod
    def _resolvers(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        for server in servers:
            _resolver(server)
        return servers

    @model_validator(mode="after")
    def _grpc(self) -> Settings:
        files = (self.grpc_tls_certificate, self.grpc_tls_key, self.grpc_tls_client_ca)
        if any(files) and not all(files):
            names = ("grpc_tls_certificate", "grpc_tls_key", "grpc_tls_client_ca")
            lacking = ", ".join(n for n, file in zip(names, files, strict=True) if not file)
            raise ValueError(f"the three files of grpc_tls_… belong together: {lacking} is missing")
        if all(files) and self.classifier_protocol == "grpc":
            raise ValueError(
                "classifier_protocol grpc: Envoy calls it in plaintext, which a port with TLS "
                "refuses; use http"
            )
        return self

    @property
    def grpc_tls(self) -> tuple[Path, Path, Path] | None:
        """Certificate, key and client CA, if gRPC has TLS."""
        certificate, key, ca = self.grpc_tls_certificate, self.grpc_tls_key, self.grpc_tls_client_ca
        return (certificate, key, ca) if certificate and key and ca else None

    def grpc_names(self) -> dict[str, str]:
        """Return the patterns of the names in client certificates, by the caller's role."""
        return {
            "cell": self.grpc_cell_name,
            "router": self.grpc_router_name,
            "admin": self.grpc_admin_name,
            "node": self.grpc_node_name,
        }

    def dns_resolvers(self) -> tuple[tuple[str, int], ...]:
        """Address and port of each DNS server that Envoys ask."""
        return tuple(_resolver(server) for server in self.edge_dns_resolvers)

    @property
    def mark_file(self) -> Path:
        """Where the sequences' high-water mark is."""
        if self.sequence_mark_file is not None:
            return self.sequence_mark_file
        url = make_url(self.database_url)
        if url.get_backend_name() == "sqlite" and url.database:
            return Path(f"{url.database}.sequence-mark.json")
        # One for each database that is served from here.
        known = hashlib.sha256(url.set(password=None).render_as_string().encode()).hexdigest()
        return self.data_dir / f"sequence-mark-{known[:12]}.json"

    @property
    def grpc_host(self) -> str:
        """Where gRPC listens: loopback, unless it has TLS or may go without."""
        if self.loopback or self.grpc_tls or self.grpc_plaintext_beyond_loopback:
            return self.host
        return "::1" if ":" in self.host else "127.0.0.1"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach us."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def _resolver(server: str) -> tuple[str, int]:
    """Read ``IP``, ``IP:port`` or ``[IPv6]:port``; raises ValueError."""
    if server.startswith("["):
        host, _, port = server[1:].partition("]:")
    elif server.count(":") == 1:
        host, _, port = server.partition(":")
    else:
        host, port = server, "53"
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= 65535):
        raise ValueError(f"{server!r}: give IP:port or [IPv6]:port")
    return str(ipaddress.ip_address(host)), int(port)


class BadSetting(ValueError):
    """A setting can't be used; the message says which, and why."""


class TokenNeeded(Exception):
    """The API would listen beyond loopback without a token."""


def check_exposure(settings: Settings) -> None:
    """Refuse to start an open API on a public address.

    Raises:
        TokenNeeded: with the mend.
    """
    if "api" in settings.roles and not settings.loopback and settings.api_token is None:
        raise TokenNeeded(
            f"the API would listen on {settings.host} without a token: set CELLWAY_API_TOKEN, "
            "or listen on 127.0.0.1"
        )
