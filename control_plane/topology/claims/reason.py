"""The reason that an operator gives for what no cell asked for."""

from __future__ import annotations

from control_plane.names import MAX_REASON_CHARS
from control_plane.topology.values.errors import Invalid, Problem


def check_reason(reason: str) -> None:
    """Raise `Invalid` unless there is a reason of a length that can be kept."""
    if not 1 <= len(reason.strip()) <= MAX_REASON_CHARS:
        mend = f"say why, in 1 to {MAX_REASON_CHARS} characters: it stays in the audit"
        raise Invalid(Problem("reason", "is missing or too long", mend))
