"""Leases, as the API reads them and answers with them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from control_plane.api.schemas.answers import ChangeDocument, Document
from control_plane.api.schemas.fields import CellName, Reason, RequestBody
from control_plane.topology import Outcome


class SettleBody(RequestBody):
    """How to end an open lease whose cell can't do so itself, and the reason."""

    outcome: Literal["commit", "rollback"]
    reason: Reason

    def settled(self) -> Outcome:
        """Return the outcome in the topology's words."""
        return "committed" if self.outcome == "commit" else "rolled back"


class SettleAllBody(SettleBody):
    """How to end all open leases of a cell, and the reason."""

    cell: CellName


class LeaseDocument(Document):
    """An open lease. ``creating`` and ``destroying`` count the claims that it locks."""

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
    """A lease that an operator has settled."""

    lease: LeaseDocument
    outcome: Literal["committed", "rolled back"]
    revision: int
    dry_run: bool = False
    changes: list[ChangeDocument] = Field(default_factory=list)
