"""Claims, as the API reads them and answers with them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from control_plane.api.schemas.answers import ChangeDocument, Document, Written
from control_plane.api.schemas.fields import Bucket, CellName, Reason, RequestBody, Text, Value
from control_plane.topology import Subject
from control_plane.topology.claims.plain import MAX_CLAIMS
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.errors import Invalid, Problem


class ClaimBody(RequestBody):
    """A claim to make."""

    bucket: Bucket
    value: Value
    cell: CellName
    subject: Text | None = None
    source: Text | None = None

    def spec(self) -> ClaimSpec:
        """Return the claim as the topology takes it."""
        return ClaimSpec(self.bucket, self.value, self.cell, self.subject, self.source)


class ClaimsBody(RequestBody):
    """A batch of claims to make: all of them or none."""

    claims: list[ClaimBody] = Field(min_length=1, max_length=MAX_CLAIMS)


class KeyBody(RequestBody):
    """The key of a claim."""

    bucket: Bucket
    value: Value


class OwnersBody(RequestBody):
    """Keys whose owners are asked for."""

    claims: list[KeyBody] = Field(min_length=1, max_length=MAX_CLAIMS)


class Owners(Document):
    """Who owns each key, in order, as of one revision."""

    revision: int
    owners: list[int | None] = Field(description="the cell's id; null where nobody owns the key")


class ReleaseBody(RequestBody):
    """A batch of claims to release: all of them or none.

    With ``cell``, they are released only if that cell owns every one.
    """

    claims: list[KeyBody] = Field(min_length=1, max_length=MAX_CLAIMS)
    cell: CellName | None = None


SUBJECT_TYPES = {"organization": 1, "namespace": 2, "project": 3, "user": 4}
"""The names of claims.v1.Subject.Type."""


class SubjectBody(RequestBody):
    """The owner of claims: a type and an id, as cells send them, or the text of plain claims."""

    type: Literal["organization", "namespace", "project", "user"] | None = None
    id: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    text: Annotated[str, Field(min_length=1, max_length=160)] | None = None

    def subject(self) -> Subject:
        """Return the subject as the topology takes it; raise `Invalid` unless it is exactly one."""
        if (self.type is None) != (self.id is None):
            raise Invalid(Problem("subject", "has a type or an id only", "give both, or the text"))
        return Subject(SUBJECT_TYPES.get(self.type or "", 0), self.id or 0, self.text)


class TransferBody(RequestBody):
    """The claims of a subject, which are to change their cell in one step."""

    subject: SubjectBody
    source: CellName = Field(description="the cell that has them")
    target: CellName = Field(description="the cell that gets them")
    reason: Reason


class ClaimDocument(Document):
    """A claim, as it is stored."""

    bucket: str
    value: str
    spelling: str | None
    cell: str
    cell_id: int
    subject: str | None
    source: str | None
    revision: int
    created_at: str


class ClaimList(Document):
    """A page of claims. For the next page, send ``next`` as ``cursor``."""

    items: list[ClaimDocument]
    next: str | None


class ClaimsWritten(Written):
    """The claims that were made or released."""

    claims: list[ClaimDocument]


class Transferred(Written):
    """How many claims changed their cell. A dry run lists only the first changes."""

    moved: int


class RejectDocument(Document):
    """A line that was not taken, and the reason."""

    line: int
    reason: str
    text: str


class ImportDone(Document):
    """How many lines were taken, and which were not."""

    created: int
    present: int
    rejected: int
    rejects: list[RejectDocument]
    revision: int
    dry_run: bool = False
    changes: list[ChangeDocument] = Field(default_factory=list)
