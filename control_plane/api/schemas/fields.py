"""The base of what the API reads, and the types of fields that several resources share."""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from control_plane.names import MAX_REASON_CHARS

Text = Annotated[str, Field(max_length=1024)]


MAX_UNKNOWN_FIELDS = 8
"""Unknown fields of an object that are reported one by one. Each error takes 6 µs to make, so the
50,000 names that fit in a body would hold the event loop for 300 ms."""


def at_most(count: int) -> BeforeValidator:
    """Return a check of how much an object has, before anything in it is looked at.

    ``max_length`` does not do: of an object, Pydantic reads every value first, and makes an error
    for each.
    """
    return BeforeValidator(_check_of_size(count))


def _check_of_size(count: int) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if isinstance(value, Sized) and len(value) > count:
            raise PydanticCustomError(
                "too_long",
                "{given} given; at most {count}",
                {"given": len(value), "count": count},
            )
        return value

    return check


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

    @model_validator(mode="before")
    @classmethod
    def _check_unknown_fields(cls, data: Any) -> Any:
        """Refuse an object of many unknown fields with one error instead of one for each."""
        if isinstance(data, dict) and len(data) > len(cls.model_fields) + MAX_UNKNOWN_FIELDS:
            raise PydanticCustomError(
                "extra_forbidden",
                "{given} fields given; the object has {count}",
                {"given": len(data), "count": len(cls.model_fields)},
            )
        return data


class ReasonBody(RequestBody):
    """The reason for what is asked."""

    reason: Reason


class RangeBody(RequestBody):
    """A range of ids, which only one cell hands out."""

    minval: int = Field(ge=1, lt=2**63)
    maxval: int = Field(ge=1, lt=2**63)
