"""The settings of the gRPC port."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Self

from pydantic import BaseModel, Field, field_validator, model_validator


class GrpcSettings(BaseModel):
    """Where gRPC listens, its bounds, its TLS, and whom certificates name."""

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
    def _grpc(self) -> Self:
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
        return self

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
