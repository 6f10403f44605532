"""The one place where configuration is read: flags over environment over cellway.toml."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

Role = Literal["api", "xds", "classifier", "topology"]
ALL_ROLES: tuple[Role, ...] = ("api", "xds", "classifier", "topology")


class Settings(BaseSettings):
    """Everything that can be set. Ports: 0 means any free one, printed at start."""

    model_config = SettingsConfigDict(
        env_prefix="CELLWAY_", toml_file="cellway.toml", extra="forbid", frozen=True
    )

    database_url: str = "sqlite:///.cellway/cellway.db"
    roles: tuple[Role, ...] = ALL_ROLES
    host: str = "127.0.0.1"
    """Where API, gRPC and classifier listen."""
    api_port: int = Field(default=8000, ge=0, le=65535)
    grpc_port: int = Field(default=18000, ge=0, le=65535)
    grpc_threads: int = Field(default=16, ge=1, le=256)
    """Topology Service calls on the database at once."""
    grpc_max_calls: int = Field(default=256, ge=1, le=10_000)
    """Such calls running or waiting at once; more get RESOURCE_EXHAUSTED."""
    classify_max_age_s: int = Field(default=10, ge=0, le=86400)
    """How long routers may keep an answer of POST /v1/classify; a move waits that long."""
    classify_negative_max_age_s: int = Field(default=5, ge=0, le=86400)
    """The same for NOT_FOUND."""
    classifier_port: int = Field(default=18001, ge=0, le=65535)
    classifier_workers: int = Field(default=1, ge=0, le=64)
    """Processes that share the classifier port; 0: in the server's own process."""
    classifier_protocol: Literal["http", "grpc"] = "http"
    classifier_timeout_s: float = Field(default=0.25, gt=0, le=60)
    edge_host: str = "127.0.0.1"
    edge_port: int = Field(default=10000, ge=0, le=65535)
    envoy_admin_port: int = Field(default=9901, ge=0, le=65535)
    debug_networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    """Callers (CIDR) whose responses show cell, rule, tier and revision."""
    api_token: SecretStr | None = None
    """Needed on any address but loopback."""
    force_shrink: bool = False
    """Publish even if most cells are gone."""
    data_dir: Path = Path(".cellway")
    poll_interval_s: float = Field(default=0.5, gt=0, le=60)
    """How often other processes' commits are looked for."""
    health_interval_s: float = Field(default=2.0, ge=0, le=3600)
    """How often the control plane probes cells that have a health check; 0: never."""

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

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach us."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


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
