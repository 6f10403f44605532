"""Claims, and the leases and records of the claims protocol."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class ClaimSpec:
    """A claim to make: `value` in `bucket` for the cell of this name."""

    bucket: str
    value: str
    cell: str
    subject: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A globally unique value (normalised) in a bucket, owned by one cell.

    ``spelling`` is the value as it was sent, None where that is the normalised one.
    """

    bucket: str
    value: str
    cell_id: int
    cell: str
    subject: str | None
    source: str | None
    revision: int
    created_at: datetime
    spelling: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "bucket": self.bucket,
            "value": self.value,
            "spelling": self.spelling,
            "cell": self.cell,
            "cell_id": self.cell_id,
            "subject": self.subject,
            "source": self.source,
            "revision": self.revision,
            "created_at": self.created_at.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class RecordSpec:
    """A claim that a cell asks to create or destroy (claims.v1.Metadata, in our words).

    ``bucket`` is our word (``route``, ``email``, ``project_id``, ...), ids are decimal text.
    ``subject_type`` and ``source_type`` are the numbers of claims.v1.Subject.Type and Source.Type,
    kept even when unknown here; ``source_id`` is rails_primary_key_id, raw; ``user_data`` a
    serialised google.protobuf.Any, opaque.
    """

    bucket: str
    value: str
    subject_type: int = 0
    subject_id: int = 0
    source_type: int = 0
    source_id: bytes = b""
    user_data: bytes = b""


class RecordStatus(enum.StrEnum):
    """Where a claim stands; look-ups answer alike in all three."""

    ACTIVE = "active"
    CREATING = "creating"
    DESTROYING = "destroying"


@dataclass(frozen=True, slots=True)
class Record:
    """A claim as the claims protocol sees it; ``lease`` only while one holds it.

    ``spec.value`` is as it was sent: its cell compares it with its own, letter by letter.
    """

    uuid: str
    spec: RecordSpec
    cell_id: int
    status: RecordStatus
    lease: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Lease:
    """An open update of one cell: begun, neither committed nor rolled back.

    It never expires by itself; times are of the database's clock.
    """

    uuid: str
    cell_id: int
    created_at: datetime
    updated_at: datetime
