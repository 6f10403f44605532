"""Reads the configuration, here and nowhere else: flags win over environment, over cellway.toml."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from control_plane.setting_sources import PREFIX, TOML_FILE, Environment

Role = Literal["api", "xds", "classifier", "topology"]
API_PORT = "--api-port (CELLWAY_API_PORT)"
"""How an error message names the setting that the operator can change."""
GRPC_PORT = "--grpc-port (CELLWAY_GRPC_PORT)"
CLASSIFIER_PORT = "--classifier-port (CELLWAY_CLASSIFIER_PORT)"
ALL_ROLES: tuple[Role, ...] = ("api", "xds", "classifier", "topology")

_SEVERAL_HOSTS = re.compile(
    r"(?P<before>postgres[^:]*://(?:[^@/?]*@)?)(?P<hosts>[^/?@]+,[^/?@]+)(?:/(?P<path>[^?]*))?"
    r"(?:\?(?P<query>.*))?\Z"
)


MIN_TOKEN_CHARS = 16
MAX_TOKEN_CHARS = 1024
_TOKEN = re.compile(rf"[\x21-\x7e]{{{MIN_TOKEN_CHARS},{MAX_TOKEN_CHARS}}}\Z")
_HOST_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,252})\Z")


class Settings(BaseSettings):
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
    api_port: int = Field(default=8000, ge=0, le=65535)
    api_max_connections: int = Field(default=1024, ge=16, le=1_000_000)
    """How many connections to the API may be open; of one address, half as many."""
    api_tls_certificate: Path | None = None
    """The API's certificate (PEM). With its key, the API is served over TLS."""
    api_tls_key: Path | None = None
    api_tls_client_ca: Path | None = None
    """The authorities of the API's clients. With it, clients need a certificate, too."""
    grpc_port: int = Field(default=18000, ge=0, le=65535)
    grpc_threads: int = Field(default=16, ge=1, le=256)
    """How many calls of the Topology Service use the database at once. Calls that begin, commit or
    roll back updates of claims need no thread of their own: they are written together."""
    grpc_max_calls: int = Field(default=256, ge=1, le=10_000)
    """How many such calls run or wait at once. The same bound holds for calls that begin updates,
    and once more for commits and rollbacks. Further calls get RESOURCE_EXHAUSTED."""
    grpc_max_rpcs: int = Field(default=12_000, ge=1, le=1_000_000)
    """How many calls and streams of any kind run at once; each Envoy holds one or two streams."""
    grpc_max_rpcs_per_certificate: int = Field(default=1_000, ge=1, le=1_000_000)
    """How many of them one client may have that shows a certificate; those with the same names
    count as one client. Further ones get RESOURCE_EXHAUSTED."""
    grpc_max_rpcs_per_address: int = Field(default=4_000, ge=1, le=1_000_000)
    """The same for all clients without a certificate at one address."""
    grpc_tls_certificate: Path | None = None
    """The server's certificate (PEM). With its key and the authorities that sign the clients'
    certificates, gRPC has mutual TLS."""
    grpc_tls_key: Path | None = None
    grpc_tls_client_ca: Path | None = None
    grpc_trust_domains: dict[str, Path] = Field(default={}, max_length=100)
    """The authorities (PEM) of each SPIFFE trust domain, instead of ``grpc_tls_client_ca``. They
    may sign the names of their own domain only."""
    grpc_plaintext_beyond_loopback: bool = False
    """Whether gRPC without TLS listens on ``host``; else it listens on loopback only."""
    grpc_cell_name: str | tuple[str, ...] = r"spiffe://cellway/cell/(?P<cell>[1-9][0-9]*)"
    """An RE2 pattern of the URI in a cell's certificate, or several; it captures the cell's id."""
    grpc_router_name: str | tuple[str, ...] = r"spiffe://cellway/router(?:/[^/]+)?"
    grpc_admin_name: str | tuple[str, ...] = r"spiffe://cellway/admin(?:/[^/]+)?"
    grpc_node_name: str | tuple[str, ...] = (
        r"spiffe://cellway/node/(?P<group>[^/]+)/(?P<node>[^/]+)"
    )
    """The same for a node of the fleet; it captures the node's group (node cluster) and id."""
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
    endpoint_networks_allowed: tuple[str, ...] = ("0.0.0.0/0", "::/0")
    """The networks (CIDR) in which cells may have endpoints."""
    endpoint_networks_denied: tuple[str, ...] | None = None
    """The networks (CIDR) in which they may not, even if these are allowed. Default: link-local,
    multicast, reserved and unspecified addresses, and the metadata services of clouds."""
    debug_networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    """The callers (CIDR) whose responses show cell, rule, tier and revision."""
    api_token: SecretStr | None = None
    """An admin's token. It is needed if ``host`` is not loopback. Read it as ``admin_token``."""
    api_hosts: tuple[str, ...] = ()
    """The names and IP addresses by which clients reach the API, beside those of loopback. Default:
    any with a token, none without one."""
    oidc_issuer: str | None = None
    """The OpenID Connect issuer (``iss``) whose JWTs the API takes beside its own tokens."""
    oidc_audiences: tuple[str, ...] = ()
    """A JWT has to be for one of these (``aud``)."""
    oidc_jwks: str | None = None
    """The issuer's key set: a URL with ``https``, or a file. ``http`` only on loopback."""
    oidc_algorithms: tuple[
        Literal[
            "RS256",
            "RS384",
            "RS512",
            "PS256",
            "PS384",
            "PS512",
            "ES256",
            "ES384",
            "ES512",
            "EdDSA",
        ],
        ...,
    ] = Field(default=("RS256", "PS256", "ES256", "EdDSA"), min_length=1)
    oidc_clock_skew_s: float = Field(default=30, ge=0, le=300)
    """By how much the issuer's clock may differ from ours."""
    oidc_scope_claim: str = Field(default="groups", min_length=1)
    """The claim that gives a scope; ``realm_access.roles`` is one in another."""
    oidc_scopes: dict[Literal["viewer", "operator", "admin"], tuple[str, ...]] = {}
    """The values of that claim which give each scope."""
    oidc_name_claim: str = Field(default="email", min_length=1)
    """The claim that the audit shows, as ``oidc:VALUE``; ``sub`` where it is missing."""
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
            name = _variable(info)
            raise ValueError(f"{name} is empty: set it to something, or leave it out altogether")
        return value

    @field_validator("api_token")
    @classmethod
    def _token(cls, token: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        text = None if token is None else token.get_secret_value()
        if text is not None and not _TOKEN.match(text):
            # Anybody who reaches the port may guess, as fast as it answers.
            raise ValueError(
                f"{_variable(info)} needs {MIN_TOKEN_CHARS} to {MAX_TOKEN_CHARS} letters, digits or"
                f" other visible ASCII characters; it has {len(text)} characters. A shorter one can"
                " be guessed. Make one with: openssl rand -hex 32"
            )
        return token

    @field_validator("api_hosts")
    @classmethod
    def _api_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_api_host(host) for host in hosts)

    @field_validator("data_dir")
    @classmethod
    def _data_dir(cls, directory: Path) -> Path:
        if "?" in str(directory):
            raise ValueError("a directory with a ? in its path can't hold a database; take another")
        return directory

    @field_validator("database_url")
    @classmethod
    def _database(cls, url: str) -> str:
        if re.match(r"sqlite(\+\w+)?://(/:memory:)?\Z", url):
            raise ValueError(
                "other processes can't read a database in memory: write sqlite:///FILE"
            )
        return single_authority(url)

    @field_validator("database_url", "redis_url")
    @classmethod
    def _password(cls, url: str | None, info: ValidationInfo) -> str | None:
        # The messages leave the URL out, because it may hold a password.
        name = _variable(info)
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
            _resolver(server)
        return servers

    @field_validator("grpc_trust_domains")
    @classmethod
    def _trust_domains(cls, bundles: dict[str, Path]) -> dict[str, Path]:
        for domain in bundles:
            if not re.fullmatch(r"[a-z0-9._-]{1,255}", domain):
                raise ValueError(
                    f"{domain!r} is no trust domain: write that of spiffe://DOMAIN/…, in lower case"
                )
        return bundles

    @model_validator(mode="after")
    def _envoy(self) -> Settings:
        if self.envoy_admin_port is not None and self.envoy_stats_port is not None:
            raise ValueError(
                "envoy_stats_port: the port of envoy_admin_port has /stats/prometheus already; "
                "leave one of the two out"
            )
        return self

    @model_validator(mode="after")
    def _api(self) -> Settings:
        if (self.api_tls_certificate is None) != (self.api_tls_key is None):
            raise ValueError("api_tls_certificate and api_tls_key belong together: give both")
        if self.api_tls_client_ca is not None and self.api_tls_certificate is None:
            raise ValueError("api_tls_client_ca needs api_tls_certificate and api_tls_key")
        return self

    @model_validator(mode="after")
    def _grpc(self) -> Settings:
        if self.grpc_tls_client_ca and self.grpc_trust_domains:
            raise ValueError(
                "grpc_tls_client_ca and grpc_trust_domains: give one of them. The authorities of "
                "the first may sign every name, those of the second the names of their domain"
            )
        files = {
            "grpc_tls_certificate": self.grpc_tls_certificate,
            "grpc_tls_key": self.grpc_tls_key,
            "grpc_tls_client_ca": self.grpc_tls_client_ca or self.grpc_trust_domains,
        }
        if any(files.values()) and not all(files.values()):
            missing = ", ".join(name for name, file in files.items() if not file)
            raise ValueError(f"the three files of grpc_tls_… belong together: {missing} is missing")
        if all(files.values()) and self.classifier_protocol == "grpc":
            raise ValueError(
                "classifier_protocol grpc: Envoy calls it in plaintext, which a port with TLS "
                "refuses; use http"
            )
        return self

    @model_validator(mode="after")
    def _oidc(self) -> Settings:
        needed = {
            "oidc_issuer": self.oidc_issuer,
            "oidc_audiences": self.oidc_audiences and all(self.oidc_audiences),
            "oidc_jwks": self.oidc_jwks,
            "oidc_scopes": any(self.oidc_scopes.values()),
        }
        if any(needed.values()) and not all(needed.values()):
            missing = ", ".join(name for name, value in needed.items() if not value)
            raise ValueError(f"the settings of OIDC belong together: {missing} is missing")
        if self.oidc_jwks is not None:
            url = urlsplit(self.oidc_jwks)
            is_file = "://" not in self.oidc_jwks
            is_local = url.scheme == "http" and _is_loopback(url.hostname or "")
            if not (is_file or is_local or (url.scheme == "https" and url.hostname)):
                raise ValueError(
                    "oidc_jwks: give an https URL or a file; whoever changes the keys is an admin"
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

    @property
    def admin_token(self) -> str | None:
        """The text of ``api_token``. No other place tells whether there is one."""
        return None if self.api_token is None else self.api_token.get_secret_value()

    @property
    def api_tls(self) -> tuple[Path, Path, Path | None] | None:
        """The files of certificate, key and client CA (if any); None if the API is plaintext."""
        certificate, key = self.api_tls_certificate, self.api_tls_key
        return (certificate, key, self.api_tls_client_ca) if certificate and key else None

    @property
    def api_scheme(self) -> str:
        """The scheme of the API's address."""
        return "http" if self.api_tls is None else "https"

    @property
    def grpc_tls(self) -> tuple[Path, Path] | None:
        """The files of the server's certificate and key; None if gRPC is plaintext."""
        certificate, key = self.grpc_tls_certificate, self.grpc_tls_key
        return (certificate, key) if certificate and key else None

    def grpc_authorities(self) -> dict[str, Path]:
        """Return the files of the clients' authorities by trust domain; ``""`` means any domain."""
        if self.grpc_tls_client_ca is not None:
            return {"": self.grpc_tls_client_ca}
        return self.grpc_trust_domains

    def grpc_names(self) -> dict[str, tuple[str, ...]]:
        """Return the patterns of the names in client certificates, by the caller's role."""
        patterns = {
            "cell": self.grpc_cell_name,
            "router": self.grpc_router_name,
            "admin": self.grpc_admin_name,
            "node": self.grpc_node_name,
        }
        return {
            role: (given,) if isinstance(given, str) else given for role, given in patterns.items()
        }

    def dns_resolvers(self) -> tuple[tuple[str, int], ...]:
        """Return the address and the port of each DNS server that Envoys ask."""
        return tuple(_resolver(server) for server in self.edge_dns_resolvers)

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
        return _is_loopback(self.host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _variable(info: ValidationInfo) -> str:
    """Return the name of a setting as a variable of the environment."""
    return f"CELLWAY_{(info.field_name or '').upper()}"


def _api_host(host: str) -> str:
    """Return a host name or an IP address as the API compares it.

    Raises:
        ValueError: it is neither.
    """
    text = host.lower().removesuffix(".")
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        if _HOST_NAME.match(text):
            return text
    raise ValueError(f"{host!r}: give a host's name or IP address, without scheme, port or *")


def database_in(directory: Path) -> str:
    """Return the URL of the SQLite file in a data directory."""
    return f"sqlite:///{directory / 'cellway.db'}"


def single_authority(url: str) -> str:
    """Return a database URL with several hosts, as libpq has them, in the form of SQLAlchemy.

    ``postgresql://u@a:1,b:2/db`` becomes ``postgresql://u@/db?host=a:1&host=b:2``. Others stay.
    """
    found = _SEVERAL_HOSTS.match(url)
    if found is None:
        return url
    hosts = "&".join(f"host={host}" for host in found["hosts"].split(","))
    rest = f"{hosts}&{found['query']}" if found["query"] else hosts
    return f"{found['before']}/{found['path'] or ''}?{rest}"


def _resolver(server: str) -> tuple[str, int]:
    """Read ``IP``, ``IP:port`` or ``[IPv6]:port``; the default port is 53.

    Raises:
        ValueError: it is none of these.
    """
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
