"""The topology as one document, as the API reads it and answers with it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import FailFast, Field, JsonValue

from control_plane.api.schemas.answers import ChangeDocument, Document, Written
from control_plane.api.schemas.fields import RequestBody, at_most


class TopologyBody(RequestBody):
    """Cells and rulesets as they are to be.

    Of a cell that exists, attributes that are left out stay as they are.
    """

    # Of objects that are none, the first is told.
    cells: Annotated[list[dict[str, Any]], FailFast()] = Field(
        default_factory=list, max_length=10_000
    )
    rulesets: Annotated[dict[str, dict[str, Any]], at_most(1000)] = Field(
        default_factory=dict, max_length=1000
    )
    active: Annotated[str, Field(max_length=64)] | None = None
    prune: bool = Field(default=False, description="delete cells that are not named")


class TopologyDocument(Document):
    """Cells and rulesets, as files hold them.

    Of the active ruleset it is the version that routes, of others the newest.
    """

    revision: int
    cells: list[dict[str, Any]]
    rulesets: dict[str, JsonValue]
    active: str | None


class TopologyWritten(Written):
    """What was changed; of a dry run, what would be.

    ``unmanaged`` lists the cells that the document doesn't name.
    """

    changed: list[ChangeDocument]
    unmanaged: list[str]
    base_revision: int
