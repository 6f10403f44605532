"""Open leases as an operator sees them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class OpenLease:
    """An open lease; ``creating`` and ``destroying`` count its claims."""

    uuid: str
    cell_id: int
    cell: str
    created_at: datetime
    age_s: float
    creating: int
    destroying: int

    def as_dict(self) -> dict[str, Any]:
        """Return it in plain JSON types."""
        return {
            "lease": self.uuid,
            "cell": self.cell,
            "cell_id": self.cell_id,
            "created_at": self.created_at.isoformat(),
            "age_s": round(self.age_s, 3),
            "creating": self.creating,
            "destroying": self.destroying,
        }


@dataclass(frozen=True, slots=True)
class LeaseBacklog:
    """How many leases are open, and how old the oldest is (0 if there is none)."""

    open: int
    oldest_s: float
