"""Texts that go with claims: an operator's reason, a claim's subject and source."""

from __future__ import annotations

from control_plane.names import MAX_REASON_CHARS
from control_plane.topology.values import Invalid, Problem, is_storable

MAX_TEXT_CHARS = 160
"""Characters of a subject or a source."""


def check_reason(reason: str) -> None:
    """Raise `Invalid` unless there is a reason of a length that the audit keeps."""
    if not 1 <= len(reason.strip()) <= MAX_REASON_CHARS:
        hint = f"say why, in 1 to {MAX_REASON_CHARS} characters: it stays in the audit"
        raise Invalid(Problem("reason", "is missing or too long", hint))


def check_text(field: str, text: str) -> None:
    """Raise `Invalid` unless a subject or a source can be stored; ``field`` says which it is."""
    if len(text) > MAX_TEXT_CHARS:
        raise Invalid(Problem(field, "too long", f"at most {MAX_TEXT_CHARS} characters"))
    if not is_storable(text):
        raise Invalid(Problem(field, f"{text!r} has a NUL or a lone surrogate", "leave it out"))
