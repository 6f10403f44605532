"""The settings of the REST API, and of who may call it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, ValidationInfo, field_validator, model_validator

from control_plane.settings.texts import api_host, is_loopback, variable

MIN_TOKEN_CHARS = 16
MAX_TOKEN_CHARS = 1024
_TOKEN = re.compile(rf"[\x21-\x7e]{{{MIN_TOKEN_CHARS},{MAX_TOKEN_CHARS}}}\Z")


class ApiSettings(BaseModel):
    """Where the API listens, its TLS, and who may call it."""

    api_port: int = Field(default=8000, ge=0, le=65535)
    api_max_connections: int = Field(default=1024, ge=16, le=1_000_000)
    """How many connections to the API may be open; of one address, half as many."""
    api_tls_certificate: Path | None = None
    """The API's certificate (PEM). With its key, the API is served over TLS."""
    api_tls_key: Path | None = None
    api_tls_client_ca: Path | None = None
    """The authorities of the API's clients. With it, clients need a certificate, too."""
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

    @field_validator("api_token")
    @classmethod
    def _token(cls, token: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        text = None if token is None else token.get_secret_value()
        if text is not None and not _TOKEN.match(text):
            # Anybody who reaches the port may guess, as fast as it answers.
            raise ValueError(
                f"{variable(info)} needs {MIN_TOKEN_CHARS} to {MAX_TOKEN_CHARS} letters, digits or"
                f" other visible ASCII characters; it has {len(text)} characters. A shorter one can"
                " be guessed. Make one with: openssl rand -hex 32"
            )
        return token

    @field_validator("api_hosts")
    @classmethod
    def _api_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(api_host(host) for host in hosts)

    @model_validator(mode="after")
    def _api(self) -> Self:
        if (self.api_tls_certificate is None) != (self.api_tls_key is None):
            raise ValueError("api_tls_certificate and api_tls_key belong together: give both")
        if self.api_tls_client_ca is not None and self.api_tls_certificate is None:
            raise ValueError("api_tls_client_ca needs api_tls_certificate and api_tls_key")
        return self

    @model_validator(mode="after")
    def _oidc(self) -> Self:
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
            is_local = url.scheme == "http" and is_loopback(url.hostname or "")
            if not (is_file or is_local or (url.scheme == "https" and url.hostname)):
                raise ValueError(
                    "oidc_jwks: give an https URL or a file; whoever changes the keys is an admin"
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
