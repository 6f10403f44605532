"""Who may call which operation: each names the scope that it needs, and /docs shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import Request

from control_plane.api.problem import ProblemError
from control_plane.topology import Scope

ROLE_KEY = "x-cellway-scope"
"""The member of an operation's OpenAPI description that names the scope."""
CALLER = "cellway.caller"
"""The key of the ASGI scope under which the middleware leaves the caller."""
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Probes send no token."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request."""

    id: str
    """The id of the caller's token; empty if the caller is an admin by configuration."""
    name: str
    scope: Scope


def needs(scope: Scope) -> dict[str, Any]:
    """Return the ``openapi_extra`` of an operation that needs a scope."""
    return {ROLE_KEY: str(scope)}


VIEWER = needs(Scope.VIEWER)
OPERATOR = needs(Scope.OPERATOR)
ADMIN = needs(Scope.ADMIN)


async def check_scope(request: Request) -> None:
    """Check that the caller has the operation's scope. Every operation depends on this.

    An operation that names no scope is for admins, so that one which was forgotten is not open.

    Raises:
        ProblemError: (403) The caller's scope does not suffice.
    """
    if request.url.path in OPEN_PATHS:
        return
    extra = request.scope["route"].openapi_extra or {}
    needed = Scope(extra.get(ROLE_KEY, Scope.ADMIN))
    caller: Caller = request.scope[CALLER]
    if not caller.scope.includes(needed):
        detail = f"this needs the scope {needed}; {caller.name} has {caller.scope}"
        raise ProblemError(403, detail, code="forbidden", needed=str(needed))


def actor_of(request: Request, sent_name: str | None) -> str:
    """Return the actor that the audit shows for a write.

    The token's name comes first, then the name that the client sent itself in X-Actor, for example
    ``ci (ann)@10.0.0.7``.
    """
    caller: Caller = request.scope[CALLER]
    client = request.client.host if request.client else "?"
    if not caller.id:
        return f"{sent_name or 'api'}@{client}"
    return f"{caller.name} ({sent_name})@{client}" if sent_name else f"{caller.name}@{client}"
