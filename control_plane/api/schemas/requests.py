"""What the API reads. Unknown fields are refused, so that a typo is not a silent default."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from control_plane.names import MAX_REASON_CHARS
from control_plane.topology import Outcome, Scope, Subject
from control_plane.topology.cells.sequence_ranges import DEFAULT_SIZE
from control_plane.topology.claims.plain import MAX_CLAIMS
from control_plane.topology.tokens import MAX_LIFE
from control_plane.topology.values.cell import (
    MAX_ENDPOINTS,
    MAX_WEIGHT,
    CellSpec,
    CellState,
    CellTLS,
    SequenceRange,
)
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.endpoint import Endpoint
from control_plane.topology.values.errors import Invalid, Problem

Text = Annotated[str, Field(max_length=1024)]


def _shape(pattern: str) -> Any:
    """A text's shape, only described: the topology checks it, and says how to mend it."""
    return Field(max_length=1024, json_schema_extra={"pattern": pattern})


_HOST = r"([A-Za-z0-9]([A-Za-z0-9.-]{0,200}[A-Za-z0-9])?|\[[0-9a-f:]+\])"
CellName = Annotated[str, _shape("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Address = Annotated[str, _shape(f"^{_HOST}(:[1-9][0-9]{{0,3}})?$")]
HostPort = Annotated[str, _shape(f"^{_HOST}:[1-9][0-9]{{0,3}}$")]
Bucket = Annotated[str, _shape("^[a-z][a-z0-9_]{0,63}$")]
HttpPath = Annotated[str, _shape("^/[!-~]{0,255}$")]
Prefix = Annotated[str, _shape("^[A-Za-z0-9_-]{1,64}$")]
Value = Annotated[str, Field(max_length=1024, json_schema_extra={"minLength": 1})]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TLSBody(_Body):
    """TLS from Envoy to the cell."""

    server_name: Text | None = None
    ca_file: Text | None = None


class RangeBody(_Body):
    """Ids of which the cell hands out its own."""

    minval: int = Field(ge=1, lt=2**63)
    maxval: int = Field(ge=1, lt=2**63)


class CellBody(_Body):
    """A cell as an operator writes it."""

    name: CellName
    address: Address
    endpoints: list[HostPort] = Field(
        description="host:port, hosts all DNS names or all IP addresses",
        json_schema_extra={"minItems": 1, "maxItems": MAX_ENDPOINTS},
    )
    id: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    tls: TLSBody | None = None
    health_check_path: HttpPath | None = None
    session_prefix: Prefix | None = None
    sequence_ranges: list[RangeBody] = Field(default_factory=list, max_length=64)
    labels: dict[str, Text] = Field(default_factory=dict)
    state: CellState = CellState.PROVISIONING
    weight: int = Field(100, ge=0, le=MAX_WEIGHT)

    def spec(self) -> CellSpec:
        """The topology's own type; raises `Invalid` for a malformed endpoint."""
        return CellSpec(
            self.name,
            self.address,
            tuple(Endpoint.parse(text) for text in self.endpoints),
            self.id,
            CellTLS(self.tls.server_name, self.tls.ca_file) if self.tls else None,
            self.health_check_path,
            self.session_prefix,
            tuple(SequenceRange(span.minval, span.maxval) for span in self.sequence_ranges),
            self.labels,
            self.state,
            self.weight,
        )


class ClaimBody(_Body):
    """One claim."""

    bucket: Bucket
    value: Value
    cell: CellName
    subject: Text | None = None
    source: Text | None = None

    def spec(self) -> ClaimSpec:
        """The topology's own type."""
        return ClaimSpec(self.bucket, self.value, self.cell, self.subject, self.source)


class ClaimsBody(_Body):
    """A batch of claims, made all or none."""

    claims: list[ClaimBody] = Field(min_length=1, max_length=MAX_CLAIMS)


class KeyBody(_Body):
    """Names a claim."""

    bucket: Bucket
    value: Value


class ReleaseBody(_Body):
    """A batch of claims to free, all or none; with ``cell``, only if it owns every one."""

    claims: list[KeyBody] = Field(min_length=1, max_length=MAX_CLAIMS)
    cell: CellName | None = None


SUBJECT_TYPES = {"organization": 1, "namespace": 2, "project": 3, "user": 4}
"""The names of claims.v1.Subject.Type."""


class SubjectBody(_Body):
    """Whose claims: a type and an id, as cells send them, or the text of plain claims."""

    type: Literal["organization", "namespace", "project", "user"] | None = None
    id: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    text: Annotated[str, Field(min_length=1, max_length=160)] | None = None

    def subject(self) -> Subject:
        """The topology's own type; raises `Invalid` unless it names one subject."""
        if (self.type is None) != (self.id is None):
            raise Invalid(Problem("subject", "has a type or an id only", "give both, or the text"))
        return Subject(SUBJECT_TYPES.get(self.type or "", 0), self.id or 0, self.text)


Reason = Annotated[
    str,
    Field(
        max_length=MAX_REASON_CHARS,
        description="stays in the audit",
        json_schema_extra={"minLength": 1, "pattern": r"\S"},
    ),
]


class TransferBody(_Body):
    """Claims of a subject that change their cell, in one step."""

    subject: SubjectBody
    source: CellName = Field(description="the cell that has them")
    target: CellName = Field(description="the cell that gets them")
    reason: Reason


class ReasonBody(_Body):
    """Why."""

    reason: Reason


class SettleBody(_Body):
    """How an open lease ends whose cell can't say so itself, and why."""

    outcome: Literal["commit", "rollback"]
    reason: Reason

    def settled(self) -> Outcome:
        """The topology's word."""
        return "committed" if self.outcome == "commit" else "rolled back"


class SettleAllBody(SettleBody):
    """The same for all open leases of a cell."""

    cell: CellName


class AllotBody(_Body):
    """How many ids the next range has."""

    size: int = Field(DEFAULT_SIZE, ge=1, lt=2**63)


class ReportBody(_Body):
    """The highest id that the cell has handed out."""

    last: int = Field(ge=1, lt=2**63)


class ActivateBody(_Body):
    """The version to make active."""

    version: int = Field(ge=1, lt=2**31)


class ExplainBody(_Body):
    """A request to be explained, as the client would send it."""

    url: Annotated[
        str,
        Field(
            max_length=65536,
            description="https://host/path, or /path",
            json_schema_extra={"pattern": r"^(https?://[A-Za-z0-9.:-]+)?/[!-~]*$"},
        ),
    ]
    method: Annotated[str, Field(max_length=32, pattern=r"^[A-Za-z]+$")] = "GET"
    headers: list[tuple[str, str]] = Field(default_factory=list, max_length=200)
    ruleset: dict[str, Any] | None = Field(None, description="instead of the active one")


class TokenBody(_Body):
    """A token to make; without ``expires_in_s`` it is valid until it is revoked."""

    name: Annotated[str, _shape("^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$")]
    scope: Scope
    expires_in_s: Annotated[int, Field(ge=1, le=int(MAX_LIFE.total_seconds()))] | None = None


class TopologyBody(_Body):
    """Cells and rulesets as they are to be. Of a cell that exists, what is left out stays."""

    cells: list[dict[str, Any]] = Field(default_factory=list, max_length=10_000)
    rulesets: dict[str, dict[str, Any]] = Field(default_factory=dict, max_length=1000)
    active: Annotated[str, Field(max_length=64)] | None = None
    prune: bool = Field(default=False, description="delete cells that are not named")
