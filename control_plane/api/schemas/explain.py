"""Explanations of routing decisions, as the API reads them and answers with them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from control_plane.api.schemas.answers import Document
from control_plane.api.schemas.fields import RequestBody

NameAndValue = Annotated[list[str], Field(min_length=2, max_length=2)]
"""A header. A tuple would be described in a way that generators do not read."""


PastTime = Annotated[
    str,
    Field(
        max_length=40,
        json_schema_extra={
            "pattern": r"^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
            r"T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?Z$",
            "examples": ["2026-11-30T03:12:00Z"],
        },
    ),
]
"""A time with its zone. The pattern is narrower than what is read, for whoever makes up values."""


class ExplainBody(RequestBody):
    """A request to explain, as the client would send it."""

    url: Annotated[
        str,
        Field(
            max_length=65536,
            description="https://host/path, or /path",
            json_schema_extra={"pattern": r"^(https?://[A-Za-z0-9.:-]+)?/[!-~]*$"},
        ),
    ]
    method: Annotated[str, Field(max_length=32, pattern=r"^[A-Za-z]+$")] = "GET"
    headers: list[NameAndValue] = Field(default_factory=list, max_length=200)
    ruleset: dict[str, Any] | None = Field(None, description="instead of the active one")
    at: Annotated[int, Field(ge=0, lt=2**63)] | PastTime | None = Field(
        None, description="decide as of this revision or time, not as of now"
    )


class StepDocument(Document):
    """The result of one rule, and the reason."""

    rule: str
    result: str
    why: str


class Explained(Document):
    """A routing decision with its trace."""

    cell: str | None
    outcome: dict[str, Any] = Field(description="one of cell, status, weighted")
    rule: str | None
    key: str | None
    matched_claim: list[str] | None
    reason: str
    trace: list[StepDocument]
    revision: int
