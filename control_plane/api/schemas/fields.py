"""The base of what the API reads, and the types of fields that several resources share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from control_plane.names import MAX_REASON_CHARS

Text = Annotated[str, Field(max_length=1024)]


def shape(pattern: str) -> Any:
    """Return a field whose pattern is only described. The topology checks it, with a hint."""
    return Field(max_length=1024, json_schema_extra={"pattern": pattern})


_HOST = r"([A-Za-z0-9]([A-Za-z0-9.-]{0,200}[A-Za-z0-9])?|\[[0-9a-f:]+\])"
CellName = Annotated[str, shape("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Address = Annotated[str, shape(f"^{_HOST}(:[1-9][0-9]{{0,3}})?$")]
HostPort = Annotated[str, shape(f"^{_HOST}:[1-9][0-9]{{0,3}}$")]
Bucket = Annotated[str, shape("^[a-z][a-z0-9_]{0,63}$")]
HttpPath = Annotated[str, shape("^/[!-~]{0,255}$")]
Prefix = Annotated[str, shape("^[A-Za-z0-9_-]{1,64}$")]
Value = Annotated[str, Field(max_length=1024, json_schema_extra={"minLength": 1})]
Reason = Annotated[
    str,
    Field(
        max_length=MAX_REASON_CHARS,
        description="stays in the audit",
        json_schema_extra={"minLength": 1, "pattern": r"\S"},
    ),
]


class RequestBody(BaseModel):
    """A request's body, or a part of one.

    Unknown fields are refused, so that a misspelt one is not silently ignored.
    """

    model_config = ConfigDict(extra="forbid")


class ReasonBody(RequestBody):
    """The reason for what is asked."""

    reason: Reason


class RangeBody(RequestBody):
    """A range of ids, which only one cell hands out."""

    minval: int = Field(ge=1, lt=2**63)
    maxval: int = Field(ge=1, lt=2**63)
