"""Tokens, as the API reads them and answers with them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from control_plane.api.schemas.answers import Document, Written
from control_plane.api.schemas.fields import RequestBody, shape
from control_plane.topology import Scope
from control_plane.topology.tokens import MAX_LIFE


class TokenBody(RequestBody):
    """A token to make. Without ``expires_in_s`` it is valid until it is revoked."""

    name: Annotated[str, shape("^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$")]
    scope: Scope
    expires_in_s: Annotated[int, Field(ge=1, le=int(MAX_LIFE.total_seconds()))] | None = None


class TokenDocument(Document):
    """A token, without its secret."""

    id: str
    name: str
    scope: Scope
    created_at: str
    created_by: str
    expires_at: str | None
    revoked_at: str | None


class TokenList(Document):
    """All tokens, also expired and revoked ones."""

    items: list[TokenDocument]
    next: str | None


class TokenWritten(Written):
    """A token after a write."""

    token: TokenDocument


class TokenCreated(TokenWritten):
    """A new token. ``secret`` is what callers send. No other answer holds it."""

    secret: str | None = None
