"""Changes and the audit, as the API reads them and answers with them."""

from __future__ import annotations

from control_plane.api.schemas.answers import ChangeDocument, Document


class ChangeList(Document):
    """A page of changes. For the next page, send ``next`` as ``since``."""

    items: list[ChangeDocument]
    next: int | None


class AuditList(Document):
    """A page of the audit. For the next page, send ``next`` as ``cursor``.

    A page may be short although more follow. ``oldest``: changes up to this revision were deleted;
    0 if none were.
    """

    items: list[ChangeDocument]
    next: str | None
    oldest: int
