"""Changes and the audit, as the API reads them and answers with them."""

from __future__ import annotations

from control_plane.api.schemas.answers import ChangeDocument, Document


class ChangeList(Document):
    """A page of changes; go on with ``since`` = ``next``."""

    items: list[ChangeDocument]
    next: int | None


class AuditList(Document):
    """A page of the audit; go on with ``cursor`` = ``next``. It may be short, and more follow.

    ``oldest``: changes up to this revision are no longer kept; 0: all are.
    """

    items: list[ChangeDocument]
    next: str | None
    oldest: int
