"""What the API answers with, for its OpenAPI description; tests hold the answers against it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from control_plane.api.problem import MEDIA_TYPE
from control_plane.topology.model import CellState
from control_plane.topology.progress import OperationState
from control_plane.topology.tokens import Scope


class _Document(BaseModel):
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


class TLSDocument(_Document):
    """TLS from Envoy to the cell."""

    server_name: str | None
    ca_file: str | None


class RangeDocument(_Document):
    """Ids of which the cell hands out its own."""

    minval: int
    maxval: int


class CellDocument(_Document):
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


class ClaimDocument(_Document):
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


class RulesetSummary(_Document):
    """A version of a ruleset, without its document."""

    name: str
    version: int
    active: bool
    author: str
    created_at: str


class RulesetDocument(RulesetSummary):
    """A version of a ruleset."""

    document: JsonValue


class ActiveRuleset(_Document):
    """The version that routes; only ``active: false`` where none does."""

    active: bool
    name: str | None = None
    version: int | None = None
    author: str | None = None
    created_at: str | None = None
    document: JsonValue = None


class FindingDocument(_Document):
    """What is wrong or doubtful about a ruleset."""

    severity: Literal["error", "warning"]
    rule: str | None
    field: str
    message: str
    mend: str


class Findings(_Document):
    """Everything that lint found."""

    findings: list[FindingDocument]


class ChangeDocument(_Document):
    """An entry of the change feed."""

    revision: int
    kind: str
    action: str
    key: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    actor: str
    at: str


class CellList(_Document):
    """Every cell."""

    items: list[CellDocument]
    next: str | None


class ClaimList(_Document):
    """A page of claims; go on with ``cursor`` = ``next``."""

    items: list[ClaimDocument]
    next: str | None


class RulesetList(_Document):
    """Every version of every ruleset."""

    items: list[RulesetSummary]
    next: str | None


class ChangeList(_Document):
    """A page of changes; go on with ``since`` = ``next``."""

    items: list[ChangeDocument]
    next: int | None


class _Written(_Document):
    revision: int
    dry_run: bool = False
    changes: list[ChangeDocument] = Field(
        default_factory=list, description="what would change; only of a dry run"
    )


class CellWritten(_Written):
    """A cell after a write."""

    cell: CellDocument


class ClaimsWritten(_Written):
    """The claims that were made or released."""

    claims: list[ClaimDocument]


class RulesetWritten(_Written):
    """A ruleset after a write."""

    ruleset: RulesetSummary
    findings: list[FindingDocument] = Field(default_factory=list)


class StepDocument(_Document):
    """What one rule had to say."""

    rule: str
    result: str
    why: str


class Explained(_Document):
    """A decision with its trace."""

    cell: str | None
    outcome: dict[str, Any] = Field(description="one of cell, status, weighted")
    rule: str | None
    key: str | None
    matched_claim: list[str] | None
    reason: str
    trace: list[StepDocument]
    revision: int


class TypeDocument(_Document):
    """One type of resource on one node."""

    type: str
    state: str
    acked_version: str
    sent_version: str
    error: str
    rejected: list[str]


class NodeDocument(_Document):
    """One Envoy."""

    id: str
    group: str
    version: str
    connected: bool
    connected_at: str
    last_message_at: str
    acked_revision: int
    state: str
    types: list[TypeDocument]


class FleetDocument(_Document):
    """Every Envoy, and why the newest revision is not published, if it is not."""

    revision: int
    alarm: str | None
    items: list[NodeDocument]


class Ready(_Document):
    """Whether the control plane does its work."""

    status: Literal["ok", "alarm"]
    revision: int
    alarm: str | None


class OperationDocument(_Document):
    """Work that goes on after its request was answered."""

    id: str
    kind: str
    target: str
    state: OperationState
    done: int
    total: int | None
    detail: str
    actor: str
    started_at: str
    updated_at: str


class OperationList(_Document):
    """A page of operations, the newest first."""

    items: list[OperationDocument]
    next: str | None


class OperationStarted(_Document):
    """It has begun; a dry run says what it would do instead."""

    operation: OperationDocument | None = None
    dry_run: bool = False
    kind: str | None = None
    target: str | None = None
    total: int | None = None


class LeaseDocument(_Document):
    """An open lease; ``creating`` and ``destroying`` count the claims that it holds."""

    lease: str
    cell: str
    cell_id: int
    created_at: str
    age_s: float
    creating: int
    destroying: int


class LeaseList(_Document):
    """A page of open leases, the oldest first."""

    items: list[LeaseDocument]
    next: str | None


class LeaseSettled(_Document):
    """A lease that was settled by an operator."""

    lease: LeaseDocument
    outcome: Literal["committed", "rolled back"]
    revision: int
    dry_run: bool = False
    changes: list[ChangeDocument] = Field(default_factory=list)


class Transferred(_Written):
    """Claims that changed their cell; of a dry run, the first changes only."""

    moved: int


class MarkDocument(_Document):
    """The highest id ever allotted, as the database and the mark file know it."""

    mark: int
    floor: int
    outside: int | None
    restored: bool = Field(description="the database is older than the file: confirm first")


class SequenceUseDocument(_Document):
    """How far a cell's ranges are used."""

    cell: str
    allotted: int
    used: int
    share: float
    alarming: bool


class SequenceList(_Document):
    """Every cell with ranges, and the marks."""

    items: list[SequenceUseDocument]
    mark: MarkDocument


class CellSequences(SequenceUseDocument):
    """A cell's ranges, and how far they are used."""

    ranges: list[RangeDocument]


class Allotted(_Written):
    """A range of ids that a cell got."""

    cell: str
    range: RangeDocument


class TokenDocument(_Document):
    """A token, without its secret."""

    id: str
    name: str
    scope: Scope
    created_at: str
    created_by: str
    expires_at: str | None
    revoked_at: str | None


class TokenList(_Document):
    """Every token."""

    items: list[TokenDocument]
    next: str | None


class TokenWritten(_Written):
    """A token after a write."""

    token: TokenDocument


class TokenCreated(TokenWritten):
    """A new token; ``secret`` is what to send, and is told only here."""

    secret: str | None = None


class RejectDocument(_Document):
    """A line that was not taken, and why."""

    line: int
    reason: str
    text: str


class ImportDone(_Document):
    """What became of the lines."""

    created: int
    present: int
    rejected: int
    rejects: list[RejectDocument]
    revision: int
    dry_run: bool = False
    changes: list[ChangeDocument] = Field(default_factory=list)


class TopologyDocument(_Document):
    """Cells and rulesets as files have them. Of the active ruleset, the version that routes."""

    revision: int
    cells: list[dict[str, Any]]
    rulesets: dict[str, JsonValue]
    active: str | None


class TopologyWritten(_Written):
    """What was changed, or would be. ``unmanaged``: cells that the document doesn't name."""

    changed: list[ChangeDocument]
    unmanaged: list[str]
    base_revision: int


class AuditList(_Document):
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
