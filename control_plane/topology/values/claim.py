"""Claims, and the leases and records of the claims protocol."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Any

_CLAIM_FIELDS = (
    *("bucket", "value", "spelling", "cell", "cell_id", "subject", "source", "revision"),
    "created_at",
)
"""The fields of a `Claim` in the order of `Claim.as_dict`."""


@dataclass(frozen=True, slots=True)
class ClaimSpec:
    """A claim to make: a value in a bucket, in any spelling, for a cell."""

    bucket: str
    value: str
    cell: str
    """The cell's name."""
    subject: str | None = None
    """Whom the claim is about, for example a tenant: a move takes all claims of a subject."""
    source: str | None = None
    """Where the claim comes from, for example a table."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A globally unique value in a bucket, which one cell owns."""

    bucket: str
    value: str
    """The normalised value."""
    cell_id: int
    cell: str
    """The cell's name."""
    subject: str | None
    source: str | None
    revision: int
    created_at: datetime
    spelling: str | None = None
    """The value as it was sent; None if that is the normalised one."""

    def as_dict(self) -> dict[str, Any]:
        """Return the claim in plain JSON types."""
        return {name: getattr(self, name) for name in _CLAIM_FIELDS} | {
            "created_at": self.created_at.isoformat()
        }


@dataclass(frozen=True, slots=True)
class RecordSpec:
    """A claim that a cell asks to create or destroy: claims.v1.Metadata of the protocol."""

    bucket: str
    """Our word for the bucket: ``route``, ``email``, ``project_id`` and so on."""
    value: str
    """The value as it was sent. Ids are decimal text."""
    subject_type: int = 0
    """The number of a claims.v1.Subject.Type, perhaps one that only newer clients know."""
    subject_id: int = 0
    source_type: int = 0
    """The number of a claims.v1.Source.Type, perhaps one that only newer clients know."""
    source_id: bytes = b""
    """The raw bytes of rails_primary_key_id."""
    user_data: bytes = b""
    """A serialised google.protobuf.Any, which is only passed on."""


class RecordStatus(enum.StrEnum):
    """The states of a claim. Look-ups answer alike in all three."""

    ACTIVE = "active"
    CREATING = "creating"
    DESTROYING = "destroying"


@dataclass(frozen=True, slots=True)
class Record:
    """A claim as the claims protocol shows it."""

    uuid: str
    spec: RecordSpec
    """Its value is spelled as it was sent: the cell compares it with its own, letter by letter."""
    cell_id: int
    status: RecordStatus
    lease: str | None
    """The lease that holds the claim, if one does."""
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Lease:
    """An update of one cell that was begun, and neither committed nor rolled back.

    It never expires by itself. Times are those of the database's clock.
    """

    uuid: str
    cell_id: int
    created_at: datetime
    updated_at: datetime
