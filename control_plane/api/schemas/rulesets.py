"""Rulesets, as the API reads them and answers with them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from control_plane.api.schemas.answers import Document, Written
from control_plane.api.schemas.fields import RequestBody


class ActivateBody(RequestBody):
    """The version to make active."""

    version: int = Field(ge=1, lt=2**31)


class RulesetSummary(Document):
    """A version of a ruleset, without its document."""

    name: str
    version: int
    active: bool
    author: str
    created_at: str


class RulesetDocument(RulesetSummary):
    """A version of a ruleset, with its document."""

    document: JsonValue


class ActiveRuleset(Document):
    """The version that routes. If there is none, only ``active: false``."""

    active: bool
    name: str | None = None
    version: int | None = None
    author: str | None = None
    created_at: str | None = None
    document: JsonValue = None


class FindingDocument(Document):
    """A fault of a ruleset, or something doubtful about it."""

    severity: Literal["error", "warning"]
    rule: str | None
    field: str
    message: str
    mend: str


class Findings(Document):
    """All findings of lint."""

    findings: list[FindingDocument]


class RulesetList(Document):
    """All versions of all rulesets."""

    items: list[RulesetSummary]
    next: str | None


class RulesetWritten(Written):
    """A ruleset after a write."""

    ruleset: RulesetSummary
    findings: list[FindingDocument] = Field(default_factory=list)
