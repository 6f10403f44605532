"""The shapes that all answers share: documents, written changes and errors."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from control_plane.api.problem import MEDIA_TYPE


class Document(BaseModel):
    """An answer's body, or a part of one."""

    # Tests fail if an answer has a member that is not described here.
    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=False)


class Fault(BaseModel):
    """One thing that is wrong with what was sent."""

    model_config = ConfigDict(extra="allow")

    message: str
    mend: str = Field("", description="what to do about it")
    field: str | None = Field(None, description="where it is, for example body.weight")
    rule: str | None = Field(None, description="the rule of a ruleset in which it is")


class Problem(BaseModel):
    """An error (RFC 9457). Some kinds have further members."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str = Field(description="what is wrong, for people")
    code: str = Field("", description="the kind of error, for programs")
    mend: str = Field("", description="what to do about it")
    errors: list[Fault] = Field(
        default_factory=list, description="each fault of what was sent, at most 100"
    )


class ChangeDocument(Document):
    """An entry of the change feed."""

    revision: int
    kind: str
    action: str
    key: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    actor: str
    at: str


class WaitedFor(Document):
    """The Envoys that a write has waited for, with ``?wait=fleet``."""

    connected: int
    acknowledged: int
    summary: str = Field(description="for people; it says so if no Envoy is connected")


class Written(Document):
    """The answer to a write."""

    revision: int
    fleet: WaitedFor | None = Field(None, description="only with ``?wait=fleet``")
    dry_run: bool = False
    changes: list[ChangeDocument] = Field(
        default_factory=list, description="what would change; only of a dry run"
    )


class RangeDocument(Document):
    """A range of ids, which only one cell hands out."""

    minval: int
    maxval: int


Responses = dict[int | str, dict[str, Any]]


_PROBLEM = {
    "content": {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}}
}
"""`description` adds the schema."""
NOT_MODIFIED: Responses = {304: {"description": "The ETag is one of If-None-Match: no change"}}
"""The answer to a conditional read of what the client has already."""


PROBLEMS: Responses = {
    "4XX": {"description": "The request can't be carried out", **_PROBLEM},
    "5XX": {"description": "The fleet lags (504) or refuses (502); an error of ours", **_PROBLEM},
}
"""The answers of any operation to a request that failed."""


def answers(model: type[BaseModel], *statuses: int) -> Responses:
    """Return the description of an operation's answers when it succeeds.

    Args:
        model: The body.
        statuses: The HTTP statuses; 200 without any.
    """
    return {status: {"model": model} for status in statuses or (200,)}
