"""Operations, as the API reads them and answers with them."""

from __future__ import annotations

from control_plane.api.schemas.answers import Document
from control_plane.topology import OperationState


class OperationDocument(Document):
    """Work that goes on after its request is answered."""

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
    """An operation that has begun. Of a dry run, what it would do instead."""

    operation: OperationDocument | None = None
    dry_run: bool = False
    kind: str | None = None
    target: str | None = None
    total: int | None = None
