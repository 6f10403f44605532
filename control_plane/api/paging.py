"""Opaque cursors, which say where the next page of a list begins.

The problem: a list changes while a client reads it. Page numbers would then skip items or repeat
them.

The idea: a cursor names the last item that the client has got, by its place in the list's order,
and the next page begins after it. It is JSON in base64, so that clients don't make their own. For
example, after the claim ``("route", "gitlab-org")`` a page's ``next`` is::

    encode(["route", "gitlab-org"])  ==  "WyJyb3V0ZSIsICJnaXRsYWItb3JnIl0"

Nothing is stored for a cursor, so it stays valid for ever.
"""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime
from typing import Annotated

from fastapi import Query
from pydantic.json_schema import SkipJsonSchema

from control_plane.api.problem import ProblemError

MAX_CURSOR_CHARS = 4096
Cursor = Annotated[
    str | SkipJsonSchema[None],
    Query(
        max_length=MAX_CURSOR_CHARS,
        description="where the page begins: what the page before says; without it, the first",
    ),
]
"""A query parameter for a cursor."""


def encode(key: list[str]) -> str:
    """Return the cursor for an item, given its place in the list's order."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def decode(cursor: str | None, length: int) -> list[str] | None:
    """Return the place that a cursor names; None without a cursor.

    Args:
        cursor: The cursor, as a client sent it.
        length: How many texts its place consists of.

    Raises:
        ProblemError: (422) `encode` has not made it.
    """
    if cursor is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        key = json.loads(raw)
    except (ValueError, binascii.Error, RecursionError):
        key = None
    if not isinstance(key, list) or len(key) != length or not all(isinstance(k, str) for k in key):
        raise _invalid()
    return key


def encode_moment(at: datetime, name: str) -> str:
    """Return the cursor for an item of a list that is ordered by times, then names."""
    return encode([at.isoformat(), name])


def decode_moment(cursor: str | None) -> tuple[datetime, str] | None:
    """Return the time and the name of a cursor; None without a cursor.

    Raises:
        ProblemError: (422) `encode_moment` has not made it.
    """
    key = decode(cursor, 2)
    if key is None:
        return None
    try:
        at = datetime.fromisoformat(key[0])
    except ValueError as error:
        raise _invalid() from error
    if at.tzinfo is None:
        raise _invalid()
    return at, key[1]


def decode_pair(cursor: str | None) -> tuple[int, int] | None:
    """Return the two numbers of a cursor; None without a cursor.

    Raises:
        ProblemError: (422) The cursor does not hold two numbers below 10**18.
    """
    key = decode(cursor, 2)
    if key is None:
        return None
    if not all(k.isascii() and k.isdigit() and len(k) < 19 for k in key):
        raise _invalid()
    return int(key[0]), int(key[1])


def _invalid() -> ProblemError:
    return ProblemError(422, "the cursor is none of ours; start without one", code="invalid")
