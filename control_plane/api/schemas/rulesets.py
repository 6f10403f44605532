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
    """A version of a ruleset."""

    document: JsonValue


class ActiveRuleset(Document):
    """The version that routes; only ``active: false`` where none does."""

    active: bool
    name: str | None = None
    version: int | None = None
    author: str | None = None
    created_at: str | None = None
    document: JsonValue = None


class FindingDocument(Document):
    """What is wrong or doubtful about a ruleset."""

    severity: Literal["error", "warning"]
    rule: str | None
    field: str
    message: str
    mend: str


class Findings(Document):
    """Everything that lint found."""

    findings: list[FindingDocument]


class RulesetList(Document):
    """Every version of every ruleset."""

    items: list[RulesetSummary]
    next: str | None


class RulesetWritten(Written):
    """A ruleset after a write."""

    ruleset: RulesetSummary
    findings: list[FindingDocument] = Field(default_factory=list)
