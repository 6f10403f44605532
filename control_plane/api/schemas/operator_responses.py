"""What the API answers with about operators' work: operations, leases, sequences, tokens."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from control_plane.api.schemas.responses import ChangeDocument, Document, RangeDocument, Written
from control_plane.topology import OperationState, Scope


class OperationDocument(Document):
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


class OperationList(Document):
    """A page of operations, the newest first."""

    items: list[OperationDocument]
    next: str | None


class OperationStarted(Document):
    """It has begun; a dry run says what it would do instead."""

    operation: OperationDocument | None = None
    dry_run: bool = False
    kind: str | None = None
    target: str | None = None
    total: int | None = None


class LeaseDocument(Document):
    """An open lease; ``creating`` and ``destroying`` count the claims that it holds."""

    lease: str
    cell: str
    cell_id: int
    created_at: str
    age_s: float
    creating: int
    destroying: int


class LeaseList(Document):
    """A page of open leases, the oldest first."""

    items: list[LeaseDocument]
    next: str | None


class LeaseSettled(Document):
    """A lease that was settled by an operator."""

    lease: LeaseDocument
    outcome: Literal["committed", "rolled back"]
    revision: int
    dry_run: bool = False
    changes: list[ChangeDocument] = Field(default_factory=list)


class MarkDocument(Document):
    """The highest id ever allotted, as the database and the mark file know it."""

    mark: int
    floor: int
    outside: int | None
    restored: bool = Field(description="the database is older than the file: confirm first")


class SequenceUseDocument(Document):
    """How far a cell's ranges are used."""

    cell: str
    allotted: int
    used: int
    share: float
    alarming: bool


class SequenceList(Document):
    """Every cell with ranges, and the marks."""

    items: list[SequenceUseDocument]
    mark: MarkDocument


class CellSequences(SequenceUseDocument):
    """A cell's ranges, and how far they are used."""

    ranges: list[RangeDocument]


class Allotted(Written):
    """A range of ids that a cell got."""

    cell: str
    range: RangeDocument


class TokenDocument(Document):
    """A token, without its secret."""

    id: str
    name: str
    scope: Scope
    created_at: str
    created_by: str
    expires_at: str | None
    revoked_at: str | None


class TokenList(Document):
    """Every token."""

    items: list[TokenDocument]
    next: str | None


class TokenWritten(Written):
    """A token after a write."""

    token: TokenDocument


class TokenCreated(TokenWritten):
    """A new token; ``secret`` is what to send, and is told only here."""

    secret: str | None = None
