"""Opaque cursors: where a list goes on."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime
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


def encode_moment(at: datetime, name: str) -> str:
    """A cursor for a list that is in the order of times."""
    return encode([at.isoformat(), name])


def decode_moment(cursor: str | None) -> tuple[datetime, str] | None:
    """Its time and name; raises `ProblemError` (422) if it is none of ours."""
    key = decode(cursor, 2)
    if key is None:
        return None
    try:
        at = datetime.fromisoformat(key[0])
    except ValueError:
        at = datetime.min  # noqa: DTZ901 - without a zone: refused below
    if at.tzinfo is None:
        raise ProblemError(422, "the cursor is none of ours; start without one", code="invalid")
    return at, key[1]


def decode_pair(cursor: str | None) -> tuple[int, int] | None:
    """Two numbers; raises `ProblemError` (422) if it is none of ours."""
    key = decode(cursor, 2)
    if key is None:
        return None
    if not all(k.isascii() and k.isdigit() and len(k) < 19 for k in key):
        raise ProblemError(422, "the cursor is none of ours; start without one", code="invalid")
    return int(key[0]), int(key[1])
