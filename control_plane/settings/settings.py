"""Reads the configuration, here and nowhere else: flags win over environment, over cellway.toml."""

from __future__ import annotations

import hashlib
import ipaddress
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from control_plane.settings.api import ApiSettings
from control_plane.settings.grpc import GrpcSettings
from control_plane.settings.sources import PREFIX, TOML_FILE, Environment
from control_plane.settings.texts import (
    database_in,
    in_memory,
    is_loopback,
    resolver,
    single_authority,
    variable,
)

Role = Literal["api", "xds", "classifier", "topology"]
API_PORT = "--api-port (CELLWAY_API_PORT)"
"""How an error message names the setting that the operator can change."""
GRPC_PORT = "--grpc-port (CELLWAY_GRPC_PORT)"
CLASSIFIER_PORT = "--classifier-port (CELLWAY_CLASSIFIER_PORT)"
ALL_ROLES: tuple[Role, ...] = ("api", "xds", "classifier", "topology")


class Settings(ApiSettings, GrpcSettings, BaseSettings):
    """Everything that can be set. Port 0 means any free one; it is printed at the start."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        toml_file=TOML_FILE,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    data_dir: Path = Path(".cellway")
    """The directory of what is kept on this machine."""
    database_url: str = Field(
        default_factory=lambda settings: database_in(settings.get("data_dir", Path())), repr=False
    )
    """Default: the file cellway.db in ``data_dir``. It is left out where settings are printed,
    because it may hold a password."""
    redis_url: str | None = Field(default=None, repr=False)
    """redis://, rediss:// or unix://. With PostgreSQL, classifiers share look-ups there."""
    roles: tuple[Role, ...] = ALL_ROLES
    host: str = "127.0.0.1"
    """Where the API, gRPC and the classifier listen."""
    advertise_host: str | None = None
    """The IP address or DNS name by which Envoys of other machines reach gRPC and the classifier.
    Default: ``host``, which therefore can't be 0.0.0.0 or :: if there are such Envoys."""
    xds_address: str | None = None
    """The same of gRPC alone, as host:port, for example behind a load balancer."""
    classifier_addresses: tuple[str, ...] = ()
    """The same of all classifiers, as host:port: Envoys share their questions out among them.
    Default: that of this control plane."""
    classify_max_age_s: int = Field(default=10, ge=0, le=86400)
    """How long routers may keep an answer of POST /v1/classify. A move waits that long."""
    classify_negative_max_age_s: int = Field(default=5, ge=0, le=86400)
    """The same for the answer NOT_FOUND."""
    classifier_port: int = Field(default=18001, ge=0, le=65535)
    classifier_workers: int = Field(default=1, ge=0, le=64)
    """How many processes share the classifier's port; 0: the server's own process serves it."""
    classifier_restart_s: float = Field(default=0.5, ge=0, le=30)
    """How long after its end a classifier process is started again; 0: never. The delay doubles
    from restart to restart, up to 5 s."""
    classifier_protocol: Literal["http", "grpc"] = "http"
    classifier_timeout_s: float = Field(default=0.25, gt=0, le=60)
    classifier_secret_demanded: bool = True
    """Whether only edges get answers: they show a secret that they are sent by xDS. Set it to false
    while the fleet has Envoys that refuse the filter that sends it."""
    classifier_max_connections: int = Field(default=4096, ge=16, le=100_000)
    """How many connections each classifier process holds, as far as its limit of open files allows.
    At most 512 of them are of callers that have not shown the secret yet."""
    classifier_max_peer_connections: int = Field(default=2048, ge=16, le=100_000)
    """How many of them one address may hold (of IPv6, one network of 64 bits)."""
    classifier_tls_certificate: Path | None = None
    """The classifier's certificate (PEM), for TLS over HTTP. The file is read again when it
    changes."""
    classifier_tls_key: Path | None = None
    classifier_tls_ca: Path | None = None
    """The authorities (PEM) by which Envoys check that certificate. They are sent to Envoys when
    the control plane starts."""
    classifier_tls_name: str | None = None
    """The subjectAltName that it must have: a DNS name or an IP address. Default: the address at
    which Envoys reach the classifier."""
    edge_host: str = "127.0.0.1"
    """Where Envoys listen: an IP address or ``localhost``. With ``::`` they take IPv4 too."""
    edge_port: int = Field(default=10000, ge=0, le=65535)
    edge_dns_resolvers: tuple[str, ...] = ()
    """The DNS servers (IP address or IP:port) that Envoys ask for the names of cells. Default: each
    Envoy asks those of its machine."""
    edge_ipv6: bool | None = None
    """Whether the machines of all Envoys support IPv6. Default: whether this machine does. An Envoy
    whose kernel does not support IPv6 ends when a name has an IPv6 address."""
    envoy_admin_port: int | None = Field(default=None, ge=0, le=65535)
    """A loopback port for the admin interface of the Envoy of `cellway up`, which anybody on the
    machine can then command. None: it is a Unix socket of the user who runs us."""
    envoy_stats_port: int | None = Field(default=None, ge=0, le=65535)
    """A loopback port for that Envoy's /stats/prometheus and /ready alone. None: there is none."""
    cell_idle_timeout_s: float = Field(default=1.0, gt=0, le=3600)
    """How long Envoys keep an idle connection to a cell. Choose it shorter than the cells' own
    keep-alive, so that a cell never closes a connection that an Envoy is about to use."""
    drain_s: float = Field(default=20, ge=0, le=3600)
    """How long `cellway up` waits at its end for requests under way."""
    edge_cache_entries: int = Field(default=50_000, ge=0, le=5_000_000)
    """How many answers each Envoy worker keeps; 0: it asks the classifier each time."""
    edge_cache_stale_s: float = Field(default=3600.0, ge=0, le=86_400)
    """How long an expired answer may serve while the classifier is out of reach.

    At most one day. Tombstones tell whether a freed name has changed owner, and they are kept for
    two days.
    """
    edge_module: Literal["auto", "on", "off"] = "auto"
    """Whether Envoys that have cellway's module answer by it (the edge map): ``off``: none does.
    With ``on``, `cellway up` does not start without the module; with ``auto`` it says why it goes
    without."""
    edge_map_unknown_asked: int = Field(default=100, ge=0, le=1_000_000)
    """How many requests a second with names of nobody each Envoy leaves to the classifier, which
    knows a new name before the edge map does; the map answers all others. 0: it answers all."""
    endpoint_networks_allowed: tuple[str, ...] = ("0.0.0.0/0", "::/0")
    """The networks (CIDR) in which cells may have endpoints."""
    endpoint_networks_denied: tuple[str, ...] | None = None
    """The networks (CIDR) in which they may not, even if these are allowed. Default: link-local,
    multicast, reserved and unspecified addresses, and the metadata services of clouds."""
    debug_networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    """The callers (CIDR) whose responses show cell, rule, tier and revision."""
    force_shrink: bool = False
    """Whether to publish a snapshot that lacks most of the cells of the one before."""
    sequence_mark_file: Path | None = None
    """The file with the highest id ever allotted, outside the database. Default: beside a SQLite
    file; in ``data_dir`` for PostgreSQL. Don't restore it together with the database."""
    new_database: bool = False
    """Whether to make a new database although the mark file says that there has been one."""
    poll_interval_s: float = Field(default=0.5, gt=0, le=60)
    """How often the publisher looks for commits of other processes."""
    changes_kept_days: float = Field(default=90, ge=0, le=36_500)
    """How long the change feed, and with it the audit, is kept; 0: for ever."""
    changes_kept_revisions: int = Field(default=100_000_000, ge=0)
    """How many revisions of the change feed are kept; 0: any number."""
    changes_archive: Path | None = None
    """A file to which changes are appended before they are forgotten, one a line (JSON)."""
    health_interval_s: float = Field(default=2.0, ge=0, le=3600)
    """How often the control plane probes cells that have a health check; 0: never."""

    @field_validator("*", mode="before")
    @classmethod
    def _given(cls, value: Any, info: ValidationInfo) -> Any:
        # In a compose file, a variable that is not set becomes an empty text.
        if isinstance(value, str) and not value.strip():
            name = variable(info)
            raise ValueError(f"{name} is empty: set it to something, or leave it out altogether")
        return value

    @field_validator("data_dir")
    @classmethod
    def _data_dir(cls, directory: Path) -> Path:
        if "?" in str(directory):
            raise ValueError("a directory with a ? in its path can't hold a database; take another")
        try:
            str(directory.absolute()).encode()
        except UnicodeEncodeError:
            text = f"the path {str(directory)!a} is no UTF-8, which SQLite needs; take another"
            raise ValueError(text) from None
        return directory

    @field_validator("database_url")
    @classmethod
    def _database(cls, url: str) -> str:
        if in_memory(url):
            text = "other processes can't read a database in memory: write sqlite:///FILE"
            raise ValueError(text)
        return single_authority(url)

    @field_validator("database_url", "redis_url")
    @classmethod
    def _password(cls, url: str | None, info: ValidationInfo) -> str | None:
        # The messages leave the URL out, because it may hold a password.
        name = variable(info)
        try:
            password = None if url is None else make_url(url).password
        except (SQLAlchemyError, ValueError):
            raise ValueError(f"{name} is no URL; see docs/operating.md") from None
        if password == "":
            text = "has an empty password: give one, or leave out the colon before the @"
            raise ValueError(f"{name} {text}")
        return url

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("redis://", "rediss://", "unix://")):
            # The message leaves the URL out, because it may hold a password.
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
            # On another machine, a name may mean another address, or none.
            text = "give an IP address of the Envoys' machine, 0.0.0.0 or :: for all, or localhost"
            raise ValueError(text) from error

    @field_validator("debug_networks", "endpoint_networks_allowed", "endpoint_networks_denied")
    @classmethod
    def _networks(cls, networks: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if networks is None:
            return None
        return tuple(str(ipaddress.ip_network(network)) for network in networks)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources, those that win first."""
        return init_settings, Environment(settings_cls), TomlConfigSettingsSource(settings_cls)

    @field_validator("edge_dns_resolvers")
    @classmethod
    def _resolvers(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        for server in servers:
            resolver(server)
        return servers

    @model_validator(mode="after")
    def _envoy(self) -> Settings:
        if self.envoy_admin_port is not None and self.envoy_stats_port is not None:
            raise ValueError(
                "envoy_stats_port: the port of envoy_admin_port has /stats/prometheus already; "
                "leave one of the two out"
            )
        return self

    @model_validator(mode="after")
    def _classifier_protocol(self) -> Settings:
        if self.grpc_tls is not None and self.classifier_protocol == "grpc":
            raise ValueError(
                "classifier_protocol grpc: Envoy calls it in plaintext, which a port with TLS "
                "refuses; use http"
            )
        return self

    @model_validator(mode="after")
    def _classifier_tls(self) -> Settings:
        """Where TLS is asked for, each role must have the files of its side."""
        pair = (self.classifier_tls_certificate, self.classifier_tls_key)
        if not any(pair) and self.classifier_tls_ca is None:
            return self
        if self.classifier_protocol == "grpc":
            raise ValueError("classifier_tls_… needs classifier_protocol http")
        if any(pair) != all(pair) or ("classifier" in self.roles and not all(pair)):
            raise ValueError("classifier_tls_certificate and classifier_tls_key belong together")
        if "xds" in self.roles and self.classifier_tls_ca is None:
            raise ValueError(
                "classifier_tls_ca is missing: Envoys would not trust the classifier's certificate"
            )
        return self

    def dns_resolvers(self) -> tuple[tuple[str, int], ...]:
        """Return the address and the port of each DNS server that Envoys ask."""
        return tuple(resolver(server) for server in self.edge_dns_resolvers)

    @property
    def mark_file(self) -> Path:
        """The file with the high-water mark of sequences."""
        if self.sequence_mark_file is not None:
            return self.sequence_mark_file
        url = make_url(self.database_url)
        if url.get_backend_name() == "sqlite" and url.database:
            return Path(f"{url.database}.sequence-mark.json")
        # A data directory may serve several databases, so each has a file of its own.
        digest = hashlib.sha256(url.set(password=None).render_as_string().encode()).hexdigest()
        return self.data_dir / f"sequence-mark-{digest[:12]}.json"

    @property
    def grpc_host(self) -> str:
        """Where gRPC listens: on loopback, unless it has TLS or is allowed to go without."""
        if self.loopback or self.grpc_tls or self.grpc_plaintext_beyond_loopback:
            return self.host
        return "::1" if ":" in self.host else "127.0.0.1"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the ports."""
        return is_loopback(self.host)


class BadSetting(ValueError):
    """A setting can't be used; the message says which, and why."""


class TokenNeeded(Exception):
    """The API would listen beyond loopback without a token."""


def check_exposure(settings: Settings) -> None:
    """Refuse an API without a token on an address that other machines can reach.

    Raises:
        TokenNeeded: the message says what to set.
    """
    open_to_all = settings.admin_token is None and settings.oidc_issuer is None
    if "api" in settings.roles and not settings.loopback and open_to_all:
        raise TokenNeeded(
            f"the API would listen on {settings.host} without a token: set CELLWAY_API_TOKEN "
            "or CELLWAY_OIDC_ISSUER, or listen on 127.0.0.1"
        )
