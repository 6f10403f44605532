"""Leases, as the API reads them and answers with them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from control_plane.api.schemas.answers import ChangeDocument, Document
from control_plane.api.schemas.fields import CellName, Reason, RequestBody
from control_plane.topology import Outcome


class SettleBody(RequestBody):
    """How an open lease ends whose cell can't say so itself, and why."""

    outcome: Literal["commit", "rollback"]
    reason: Reason

    def settled(self) -> Outcome:
        """The topology's word."""
        return "committed" if self.outcome == "commit" else "rolled back"


class SettleAllBody(SettleBody):
    """The same for all open leases of a cell."""

    cell: CellName


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
