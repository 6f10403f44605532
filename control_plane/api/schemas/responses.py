"""What the API answers with, for its OpenAPI description; tests hold the answers against it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from control_plane.api.problem import MEDIA_TYPE
from control_plane.topology.values.cell import CellState


class Document(BaseModel):
    """An answer's body, or a part of one."""

    # An answer with a member that is not described is a test's failure, not a client's.
    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=False)


class Problem(BaseModel):
    """An error (RFC 9457). Some kinds have further members."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str = Field("", description="the kind of error, for programs")


class TLSDocument(Document):
    """TLS from Envoy to the cell."""

    server_name: str | None
    ca_file: str | None


class RangeDocument(Document):
    """Ids of which the cell hands out its own."""

    minval: int
    maxval: int


class CellDocument(Document):
    """A cell as stored."""

    id: int
    name: str
    address: str
    endpoints: list[str]
    tls: TLSDocument | None
    health_check_path: str | None
    session_prefix: str | None
    sequence_ranges: list[RangeDocument]
    labels: dict[str, str]
    state: CellState
    weight: int
    healthy: bool
    version: int = Field(description="its ETag")
    serving: bool
    accepts_new: bool


class ClaimDocument(Document):
    """A claim as stored."""

    bucket: str
    value: str
    spelling: str | None
    cell: str
    cell_id: int
    subject: str | None
    source: str | None
    revision: int
    created_at: str


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


class CellList(Document):
    """Every cell."""

    items: list[CellDocument]
    next: str | None


class ClaimList(Document):
    """A page of claims; go on with ``cursor`` = ``next``."""

    items: list[ClaimDocument]
    next: str | None


class RulesetList(Document):
    """Every version of every ruleset."""

    items: list[RulesetSummary]
    next: str | None


class ChangeList(Document):
    """A page of changes; go on with ``since`` = ``next``."""

    items: list[ChangeDocument]
    next: int | None


class Written(Document):
    """What a write answers with."""

    revision: int
    dry_run: bool = False
    changes: list[ChangeDocument] = Field(
        default_factory=list, description="what would change; only of a dry run"
    )


class CellWritten(Written):
    """A cell after a write."""

    cell: CellDocument


class ClaimsWritten(Written):
    """The claims that were made or released."""

    claims: list[ClaimDocument]


class RulesetWritten(Written):
    """A ruleset after a write."""

    ruleset: RulesetSummary
    findings: list[FindingDocument] = Field(default_factory=list)


class StepDocument(Document):
    """What one rule had to say."""

    rule: str
    result: str
    why: str


class Explained(Document):
    """A decision with its trace."""

    cell: str | None
    outcome: dict[str, Any] = Field(description="one of cell, status, weighted")
    rule: str | None
    key: str | None
    matched_claim: list[str] | None
    reason: str
    trace: list[StepDocument]
    revision: int


class TypeDocument(Document):
    """One type of resource on one node."""

    type: str
    state: str
    acked_version: str
    sent_version: str
    error: str
    rejected: list[str]


class NodeDocument(Document):
    """One Envoy."""

    id: str
    group: str
    version: str
    outdated: str | None
    connected: bool
    connected_at: str
    last_message_at: str
    acked_revision: int
    state: str
    types: list[TypeDocument]
    reports_health: bool


class CellAtEdges(Document):
    """What the Envoys that report hold of a cell."""

    cell: str
    edges_up: int = Field(description="Envoys that hold an endpoint of it healthy")
    edges_down: int = Field(description="Envoys that hold none healthy")
    healthy: int = Field(description="endpoints held healthy, summed over those Envoys")
    total: int = Field(description="endpoints, summed over those Envoys")


class FleetDocument(Document):
    """Every Envoy, and why the newest revision is not published, if it is not."""

    revision: int
    alarm: str | None
    items: list[NodeDocument]
    cells: list[CellAtEdges]


class Ready(Document):
    """Whether the control plane does its work."""

    status: Literal["ok", "alarm"]
    revision: int
    alarm: str | None


class Transferred(Written):
    """Claims that changed their cell; of a dry run, the first changes only."""

    moved: int


class RejectDocument(Document):
    """A line that was not taken, and why."""

    line: int
    reason: str
    text: str


class ImportDone(Document):
    """What became of the lines."""

    created: int
    present: int
    rejected: int
    rejects: list[RejectDocument]
    revision: int
    dry_run: bool = False
    changes: list[ChangeDocument] = Field(default_factory=list)


class TopologyDocument(Document):
    """Cells and rulesets as files have them. Of the active ruleset, the version that routes."""

    revision: int
    cells: list[dict[str, Any]]
    rulesets: dict[str, JsonValue]
    active: str | None


class TopologyWritten(Written):
    """What was changed, or would be. ``unmanaged``: cells that the document doesn't name."""

    changed: list[ChangeDocument]
    unmanaged: list[str]
    base_revision: int


class AuditList(Document):
    """A page of the audit; go on with ``cursor`` = ``next``. It may be short, and more follow.

    ``oldest``: changes up to this revision are no longer kept; 0: all are.
    """

    items: list[ChangeDocument]
    next: str | None
    oldest: int


Responses = dict[int | str, dict[str, Any]]
_PROBLEM = {"content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}}
PROBLEMS: Responses = {
    "4XX": {"description": "The request can't be carried out", **_PROBLEM},
    "5XX": {"description": "The fleet lags (504), or an error of ours", **_PROBLEM},
}
"""What any operation may answer with instead."""


def answers(model: type[BaseModel], *statuses: int) -> Responses:
    """The description of an operation's good answers."""
    return {status: {"model": model} for status in statuses or (200,)}
