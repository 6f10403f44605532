"""Opaque cursors: where a list goes on."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from control_plane.api.problem import ProblemError

MAX_CURSOR_CHARS = 4096


def encode(key: list[Any]) -> str:
    """A cursor for a key."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def decode(cursor: str | None, length: int) -> list[Any] | None:
    """The key of a cursor; raises `ProblemError` (422) if it is none of ours."""
    if cursor is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        key = json.loads(raw)
    except (ValueError, binascii.Error, RecursionError):
        key = None
    if not isinstance(key, list) or len(key) != length or not all(isinstance(k, str) for k in key):
        raise ProblemError(422, "the cursor is none of ours; start without one", code="invalid")
    return key
