"""What ``POST /v1/classify`` reads and answers with, as the Topology Service's gateway has it.

The gateway itself reads and writes it. These classes only describe it.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from control_plane.api.schemas.answers import Document


class ClassifyBody(BaseModel):
    """Claims of which the first that a cell owns decides, or a type and a value."""

    model_config = ConfigDict(extra="allow")

    type: str | int = "UNSPECIFIED"
    value: str = ""
    claim: dict[str, str | int] = Field(default_factory=dict)
    claims: list[dict[str, str | int]] = Field(default_factory=list)


class ProxyDocument(Document):
    """Where to proxy to."""

    address: str


class Classified(Document):
    """The cell to proxy to, and the claim that it owns."""

    action: str
    proxy: ProxyDocument | None = None
    matchedClaim: dict[str, Any] | None = None  # noqa: N815 - as the gateway spells it


class RpcStatus(Document):
    """google.rpc.Status as JSON."""

    code: int = Field(description="the number of the gRPC status")
    message: str
    details: list[dict[str, Any]]
